"""Transmissions that an external file-transfer tool carries (R-014): names and signed words.

The tool only moves files, in its own time: late, doubled, in another order, sometimes cut short.
So nothing depends on it. A town hall puts two files into its outgoing folder, the package
(encrypted with age to the town's transfer key) and, when that is whole, a *word* that says what
was sent and is signed with the gateway's signing key. BCL answers with signed *answers*.

    999997_<bundle id>_<mark>.package    ciphertext
    999997_<bundle id>_<mark>.ready      word, kind "package"
    999997_<bundle id>_<mark>.ready      word, kind "question": what became of it? (no package)
    999997_contact_<mark>.ready          word, kind "contact": the gateway lives
    999997_<subject>_<mark>.answer       BCL's answer; subject = bundle id or "contact"

`mark` is the beginning of a digest over the content: two files of one name are the same file.
Whoever reads believes a file only when it is whole JSON and its signature holds.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from datetime import datetime, timedelta
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from bcl_contract import strict_json
from bcl_contract.receipts import canonical_json

PACKAGE_ENDING = ".package"
WORD_ENDING = ".ready"
ANSWER_ENDING = ".answer"
CONTACT = "contact"
MAXIMUM_WORD_BYTES = 16 << 10
MAXIMUM_ANSWER_BYTES = 32 << 20
MAXIMUM_CLOCK_SKEW = timedelta(seconds=60)
"""R-263. Files travel for any time, so only a word or answer of the future shows a wrong clock."""

_NAME = re.compile(
    r"(?P<town>[0-9]{6})_(?P<subject>[0-9A-Za-z\-]{7,40})_(?P<mark>[0-9a-f]{16})"
    r"(?P<ending>\.package|\.ready|\.answer)\Z",
    re.ASCII,
)
_WORD_CONTEXT = b"bcl folder transfer word v1\n"
_ANSWER_CONTEXT = b"bcl folder transfer answer v1\n"
_SHA256 = r"^[0-9a-f]{64}$"
_BUNDLE_ID = r"^[0-9A-Za-z\-]{16,40}$"


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["bcl-folder-transfer/1"] = "bcl-folder-transfer/1"
    environment: Literal["production", "verification"]
    municipality_code: str = Field(pattern=r"^[0-9]{6}$")


class Word(_Said):
    """What a gateway says. Sizes in bytes; `package_*` is the zip, `file_*` its ciphertext.

    A question names bundle and `package_sha256` only, a contact nothing.
    """

    kind: Literal["package", "question", "contact"]
    sent_at: AwareDatetime
    bundle_id: str | None = Field(default=None, pattern=_BUNDLE_ID)
    package_sha256: str | None = Field(default=None, pattern=_SHA256)
    package_bytes: int = Field(default=0, ge=0, lt=2**53)
    file_name: str | None = None
    file_bytes: int = Field(default=0, ge=0, lt=2**53)
    file_sha256: str | None = Field(default=None, pattern=_SHA256)
    key_id: str | None = Field(default=None, max_length=64)

    @property
    def is_complete(self) -> bool:
        """Is everything there that its kind needs?"""
        about = self.bundle_id is not None and self.package_sha256 is not None
        if self.kind != "package":
            return about or self.kind == "contact"
        return (
            about and self.package_bytes > 0 and self.file_sha256 is not None
            and self.key_id is not None and split_name(self.file_name or "") is not None
        )  # fmt: skip


class AnswerFile(_Said):
    """What BCL says. `content` as over HTTP (None when nothing was taken in), or a `refusal`."""

    subject: str = Field(pattern=r"^[0-9A-Za-z\-]{7,40}$")
    package_sha256: str | None = Field(default=None, pattern=_SHA256)
    answered_at: AwareDatetime
    content: dict[str, Any] | None = None
    refusal: dict[str, Any] | None = None


def file_name(municipality_code: str, subject: str, content_sha256: str, ending: str) -> str:
    """The name of a file whose content (or, for a package, ciphertext) has this digest."""
    return f"{municipality_code}_{subject}_{content_sha256[:16]}{ending}"


def split_name(name: str) -> dict[str, str] | None:
    """The parts town, subject, mark and ending of a name, or None for a stranger's file."""
    found = _NAME.match(name)
    return None if found is None else found.groupdict()


def is_ahead(said_at: datetime, *, now: datetime) -> bool:
    """Was it said in a future that no pair of right clocks explains?"""
    return said_at - now > MAXIMUM_CLOCK_SKEW


def write_word(word: Word, key: Ed25519PrivateKey) -> bytes:
    """The file of a word, signed with the gateway's signing key."""
    return _signed("word", word.model_dump(mode="json"), _WORD_CONTEXT, key)


def write_answer(answer: AnswerFile, key: Ed25519PrivateKey) -> bytes:
    """The file of an answer, signed with the town's receipt key."""
    return _signed("answer", answer.model_dump(mode="json"), _ANSWER_CONTEXT, key)


class Unproved:
    """A word or answer that was read but not believed yet; `said_by` lets it out."""

    def __init__(self, said: Word | AnswerFile, signed: bytes, signature: bytes) -> None:
        self._said, self._signed, self._signature = said, signed, signature

    def said_by(self, key: Ed25519PublicKey) -> Any:
        """The `Word` or `AnswerFile` if this key signed it, else None."""
        try:
            key.verify(self._signature, self._signed)
        except InvalidSignature:
            return None
        return self._said


def read_word(data: bytes) -> Unproved | None:
    """Read a word's file; None while it is not whole or is not one at all."""
    return _read(data, "word", Word, _WORD_CONTEXT, MAXIMUM_WORD_BYTES)


def read_answer(data: bytes) -> Unproved | None:
    """Read an answer's file; None while it is not whole or is not one at all."""
    return _read(data, "answer", AnswerFile, _ANSWER_CONTEXT, MAXIMUM_ANSWER_BYTES)


def digest(data: bytes) -> str:
    """SHA-256 in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def _signed(name: str, content: dict[str, Any], context: bytes, key: Ed25519PrivateKey) -> bytes:
    signature = key.sign(context + canonical_json(content))
    return strict_json.write(
        {name: content, "signature": base64.b64encode(signature).decode("ascii")}
    )


def _read(
    data: bytes, name: str, model: type[Word] | type[AnswerFile], context: bytes, limit: int
) -> Unproved | None:
    try:
        content = strict_json.parse(data, max_bytes=limit)
        if not isinstance(content, dict) or set(content) != {name, "signature"}:
            return None
        signature = base64.b64decode(content["signature"], validate=True)
        said = model.model_validate(content[name])
        signed = context + canonical_json(content[name])
    except (strict_json.JsonFault, ValidationError, binascii.Error, TypeError, ValueError):
        return None
    if isinstance(said, Word) and not said.is_complete:
        return None
    return Unproved(said, signed, signature)
