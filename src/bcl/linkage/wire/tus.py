"""The words of tus 1.0.0: headers in, values or refusals out. No framework, no state.

Every header is read strictly: a value that is not exactly what the protocol says is refused with
a code. A header sent twice reaches us joined by a comma and fails the same way.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from bcl_contract.refusals import Refusal

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,checksum,termination,expiration"
CHUNK_TYPE = "application/offset+octet-stream"
# The protocol makes sha1 compulsory for servers, and tuspy knows nothing else. It only catches
# damage on the way; what a transmission is, its manifest and signature say with sha256.
ALGORITHMS: Mapping[str, Callable[[], hashlib._Hash]] = {
    "sha256": hashlib.sha256,
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
}

_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,17})\Z", re.ASCII)
_METADATA_KEY = re.compile(r"[A-Za-z0-9_.\-]{1,64}\Z", re.ASCII)
_BUNDLE_ID = re.compile(r"[0-9A-Za-z\-]{16,40}\Z", re.ASCII)
_MAXIMUM_METADATA = 4096


@dataclass(frozen=True)
class Checksum:
    """What the sender says about one chunk."""

    algorithm: str
    digest: bytes


@dataclass(frozen=True)
class Creation:
    """A wish to upload `length` bytes that carry the transmission `bundle_id`."""

    length: int
    bundle_id: str
    filename: str


def check_version(value: str | None) -> Refusal | None:
    """Refuse any other version of the protocol (412)."""
    return None if value == VERSION else Refusal("LINKAGE_UPLOAD_PROTOCOL_VERSION")


def parse_number(value: str | None, *, header: str) -> int | Refusal:
    """Read a non-negative decimal of at most 18 digits without sign, blank or leading zero."""
    if value is None or not _NUMBER.match(value):
        return Refusal("LINKAGE_UPLOAD_HEADER_INVALID", {"header": header})
    return int(value)


def parse_metadata(value: str | None) -> dict[str, str] | Refusal:
    """Read `Upload-Metadata`: `key base64(value)` pairs joined by commas, no key twice.

    Values are UTF-8 text without control characters: they reach file lists and logs.
    """
    refusal = Refusal("LINKAGE_UPLOAD_HEADER_INVALID", {"header": "Upload-Metadata"})
    if value is None or len(value) > _MAXIMUM_METADATA:
        return refusal
    found: dict[str, str] = {}
    for pair in value.split(","):
        key, _, encoded = pair.strip(" ").partition(" ")
        if not _METADATA_KEY.match(key) or key in found:
            return refusal
        try:
            text = base64.b64decode(encoded, validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            return refusal
        if not text.isprintable():
            return refusal
        found[key] = text
    return found


def parse_creation(
    *, length: str | None, metadata: str | None, defer: str | None, concat: str | None
) -> Creation | Refusal:
    """Read the headers of a creation. Deferred length and concatenation are not offered."""
    for header, value in (("Upload-Defer-Length", defer), ("Upload-Concat", concat)):
        if value is not None:
            return Refusal("LINKAGE_UPLOAD_EXTENSION_UNKNOWN", {"header": header})
    size = parse_number(length, header="Upload-Length")
    if isinstance(size, Refusal):
        return size
    pairs = parse_metadata(metadata)
    if isinstance(pairs, Refusal):
        return pairs
    bundle_id = pairs.get("bundle_id", "")
    filename = pairs.get("filename", "")
    if size == 0:
        return Refusal("LINKAGE_UPLOAD_HEADER_INVALID", {"header": "Upload-Length"})
    if not _BUNDLE_ID.match(bundle_id) or len(filename) > 255:
        return Refusal("LINKAGE_UPLOAD_HEADER_INVALID", {"header": "Upload-Metadata"})
    return Creation(length=size, bundle_id=bundle_id, filename=filename)


def parse_checksum(value: str | None) -> Checksum | Refusal | None:
    """Read `Upload-Checksum: algorithm base64`; None when the sender gave none."""
    if value is None:
        return None
    algorithm, _, encoded = value.partition(" ")
    refusal = Refusal("LINKAGE_UPLOAD_HEADER_INVALID", {"header": "Upload-Checksum"})
    if algorithm not in ALGORITHMS:
        return refusal
    try:
        digest = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return refusal
    if len(digest) != ALGORITHMS[algorithm]().digest_size:
        return refusal
    return Checksum(algorithm, digest)


def check_sent_at(value: str | None, *, now: datetime, tolerance: timedelta) -> Refusal | None:
    """Refuse a sender whose clock is off by more than `tolerance` (R-263).

    Plain tus clients send no `X-BCL-Sent-At`; they are not judged by it.
    """
    if value is None:
        return None
    try:
        sent_at = datetime.fromisoformat(value)
    except ValueError:
        return Refusal("LINKAGE_UPLOAD_HEADER_INVALID", {"header": "X-BCL-Sent-At"})
    if sent_at.tzinfo is None:
        return Refusal("LINKAGE_UPLOAD_HEADER_INVALID", {"header": "X-BCL-Sent-At"})
    skew = sent_at - now
    if abs(skew) > tolerance:
        return Refusal("TRANSMISSION_CLOCK_SKEW", {"seconds": round(skew.total_seconds())})
    return None


def check_environment(value: str | None, *, own: str) -> Refusal | None:
    """Refuse a sender of another environment, and one that doesn't say which it is (R-040)."""
    if value == own:
        return None
    return Refusal("LINKAGE_ENVIRONMENT_MISMATCH", {"environment": own})


def chunk_length(
    *, content_length: str | None, transfer_encoding: str | None
) -> int | Refusal | None:
    """Length of a request body in bytes; None when it comes chunked and ends by itself."""
    if transfer_encoding is not None:
        if transfer_encoding.strip().lower() != "chunked":
            return Refusal("LINKAGE_UPLOAD_HEADER_INVALID", {"header": "Transfer-Encoding"})
        return None
    if content_length in (None, ""):
        return 0
    return parse_number(content_length, header="Content-Length")
