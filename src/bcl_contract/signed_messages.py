"""Signed JSON messages: strict reading, Ed25519 over the body's bytes, and a time window.

Used wherever two parties exchange small signed messages beside mutual TLS. A refusal names the
field that is wrong and never what stood in it.
"""

import base64
import binascii
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
)

from bcl_contract.refusals import Refusal

SIGNATURE_HEADER = "X-BCL-Signature"
TIME_WINDOW = timedelta(seconds=60)
REQUEST_BYTES = 64 << 10
_ULID = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def _decode(value: Any) -> Any:
    """Read base64 as RFC 4648 §4 wants it: padded, no line breaks, nothing outside the alphabet."""
    if not isinstance(value, str):
        return value
    content = base64.b64decode(value, validate=True)
    if base64.b64encode(content).decode("ascii") != value:
        raise ValueError("not canonical base64")
    return content


def _encode(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


Bytes = Annotated[
    bytes, BeforeValidator(_decode), PlainSerializer(_encode, return_type=str, when_used="json")
]
Number = Annotated[str, Field(pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]


class Message(BaseModel):
    """What every part of a message promises: strict, closed, unchangeable, silent in errors."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


M = TypeVar("M", bound=Message)


def parse_message(model: type[M], body: bytes, *, limit: int = REQUEST_BYTES) -> M | Refusal:
    """Read one message strictly, or say which field is wrong (never its value).

    Refuses: CENTER_MESSAGE_TOO_LARGE, CENTER_MESSAGE_NOT_JSON (also duplicate keys, NaN, BOM,
    nesting bombs, lone surrogates), CENTER_MESSAGE_WRONG_FORM with ``field``.
    """
    if len(body) > limit:
        return Refusal("CENTER_MESSAGE_TOO_LARGE", {"bytes": len(body), "limit": limit})
    try:
        text = body.decode("utf-8")
        content = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return Refusal("CENTER_MESSAGE_NOT_JSON")
    if "message" in model.model_fields and not (isinstance(content, dict) and "message" in content):
        return Refusal("CENTER_MESSAGE_WRONG_FORM", {"field": "message"})
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return Refusal("CENTER_MESSAGE_WRONG_FORM", {"field": _known_path(first)})


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError("duplicate key")
    return names


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _known_path(error: Mapping[str, Any]) -> str:
    """Name the field that is wrong; an unknown field's own name came from outside and stays out."""
    location = error["loc"][:-1] if error["type"] == "extra_forbidden" else error["loc"]
    return ".".join(str(part) for part in location) or "(message)"


def write_message(message: Message) -> bytes:
    """Write a message as the bytes to sign and send."""
    return message.model_dump_json().encode("utf-8")


def sign_message(body: bytes, *, key: Ed25519PrivateKey) -> str:
    """Sign a body; the result goes into the ``X-BCL-Signature`` header."""
    return base64.b64encode(key.sign(body)).decode("ascii")


def verify_message(body: bytes, signature: str | None, *, key: Ed25519PublicKey) -> Refusal | None:
    """Check a body against its ``X-BCL-Signature`` header; None when it holds.

    Refuses: CENTER_SIGNATURE_MISSING, CENTER_SIGNATURE_WRONG.
    """
    if not signature:
        return Refusal("CENTER_SIGNATURE_MISSING")
    try:
        key.verify(base64.b64decode(signature, validate=True), body)
    except (InvalidSignature, binascii.Error, ValueError):
        return Refusal("CENTER_SIGNATURE_WRONG")
    return None


def check_time_window(sent_at: datetime, *, at: datetime) -> Refusal | None:
    """Refuse a message sent more than 60 seconds before or after `at` (CENTER_MESSAGE_NOT_NOW)."""
    if abs(sent_at - at) > TIME_WINDOW:
        return Refusal("CENTER_MESSAGE_NOT_NOW")
    return None


def request_hash(request: Message) -> str:
    """Digest what a request asks: equal for a repetition, different for any other wish (D22).

    Covers every field but `message_id` and `sent_at`, which are new at each sending. Hex SHA-256.
    """
    content = request.model_dump(mode="json", exclude={"message_id", "sent_at"})
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def new_number(at: datetime, *, randomness: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Draw a transaction or message number: a ULID of 26 characters.

    Uniqueness rests on its 80 random bits alone, never on the time, host or kiosk (R-071); the
    leading time only keeps a journal in order. A store must still hold it as a unique key.
    """
    value = int(at.timestamp() * 1000) << 80 | int.from_bytes(randomness(10), "big")
    return "".join(_ULID[value >> shift & 31] for shift in range(125, -1, -5))
