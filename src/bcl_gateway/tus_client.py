"""tus 1.0.0 as a sender: create, ask for the offset, append with a SHA-256 per chunk.

What BCL has acknowledged is never sent again; a chunk that was cut is sent again whole, so a cut
costs at most one chunk (R-017).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from typing import Protocol

import httpx

from bcl_contract.refusals import Refusal
from bcl_gateway.bandwidth import Pace
from bcl_gateway.connection import Answer, LineBroken, ServerRefuses, WireConnection, refusal_in

_VERSION = {"Tus-Resumable": "1.0.0"}
_GONE = (404, 410)
_LATER = (423, 429, 502, 503, 504, 507)
_PIECE_BYTES = 128 << 10
MAXIMUM_SAME_OFFSET = 5
"""How often a chunk may be refused at one offset before it counts as a broken line."""


class Source(Protocol):
    """A seekable file of clear bytes."""

    def seek(self, offset: int, whence: int = 0, /) -> int: ...

    def read(self, size: int = -1, /) -> bytes: ...


def create_upload(line: WireConnection, *, length: int, bundle_id: str, filename: str) -> str:
    """Announce `length` bytes; give the upload's address. LineBroken, ServerRefuses."""
    metadata = ",".join(
        f"{key} {base64.b64encode(value.encode()).decode()}"
        for key, value in (("filename", filename), ("bundle_id", bundle_id))
    )
    headers = _VERSION | {"Upload-Length": str(length), "Upload-Metadata": metadata}
    answer = line.request("POST", line.url("uploads/"), headers=headers, content=b"")
    if answer.status != 201 or not answer.headers.get("Location"):
        raise _no(answer)
    return line.url(str(httpx.URL(answer.headers["Location"]).raw_path.decode()))


def ask_offset(line: WireConnection, url: str) -> int | None:
    """How many bytes BCL has; None when it knows no such upload any more."""
    answer = line.request("HEAD", url, headers=_VERSION)
    if answer.status in _GONE:
        return None
    if answer.status not in (200, 204):
        raise _no(answer)
    return _offset_in(answer)


def send_rest(
    line: WireConnection,
    url: str,
    source: Source,
    *,
    offset: int,
    length: int,
    chunk_bytes: int,
    report: Callable[[int], None],
    pace: Pace | None = None,
) -> None:
    """Append everything from `offset` on. `report` hears every acknowledged offset.

    Raises LineBroken (ask for the offset and go on) and ServerRefuses.
    """
    stuck = 0
    while offset < length:
        source.seek(offset)
        chunk = source.read(min(chunk_bytes, length - offset))
        answer = _append(line, url, chunk, offset, pace)
        if answer.status == 204:
            reached = _offset_in(answer)
            if reached != offset + len(chunk):
                raise LineBroken("offset")
        elif answer.status in (409, 460):
            # Another offset than we thought, or a chunk that was damaged on its way.
            reached = ask_offset(line, url) or 0
        else:
            raise _no(answer)
        stuck = stuck + 1 if reached <= offset else 0
        if stuck >= MAXIMUM_SAME_OFFSET:
            raise LineBroken("no progress")
        offset = reached
        report(offset)


def _append(line: WireConnection, url: str, chunk: bytes, offset: int, pace: Pace | None) -> Answer:
    digest = base64.b64encode(hashlib.sha256(chunk).digest()).decode()
    headers = _VERSION | {
        "Upload-Offset": str(offset),
        "Content-Type": "application/offset+octet-stream",
        "Content-Length": str(len(chunk)),
        "Upload-Checksum": f"sha256 {digest}",
    }
    return line.request("PATCH", url, headers=headers, content=_pieces(chunk, pace))


def _pieces(chunk: bytes, pace: Pace | None) -> Iterator[bytes]:
    view = memoryview(chunk)
    start = 0
    while start < len(view):
        size = _PIECE_BYTES if pace is None else pace.piece_bytes()
        piece = bytes(view[start : start + size])
        if pace is not None:
            pace.wait(len(piece))
        yield piece
        start += len(piece)


def _offset_in(answer: Answer) -> int:
    text = answer.headers.get("Upload-Offset", "")
    if not (text.isascii() and text.isdigit()):
        raise ServerRefuses(Refusal("GATEWAY_SERVER_ANSWER", {"header": "Upload-Offset"}))
    return int(text)


def _no(answer: Answer) -> Exception:
    if answer.status in _LATER or answer.status >= 500:
        return LineBroken(f"status {answer.status}")
    if not answer.content and answer.status in (401, 403):
        return ServerRefuses(Refusal("GATEWAY_CERTIFICATE_REFUSED"))
    return ServerRefuses(refusal_in(answer))
