"""Reading JSON that strangers wrote, with one meaning only (RFC 8259, I-JSON RFC 7493).

Refuses what two parsers could read differently: doubled names, NaN and Infinity, lone
surrogates, trailing bytes, a byte order mark, numbers beyond exact doubles, and what could
exhaust us: depth and size.
"""

from __future__ import annotations

import json
import re

MAX_BYTES = 64 << 20
MAX_DEPTH = 32
MAX_INTEGER = 2**53

_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)

_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class JsonFault(ValueError):
    """Raised when bytes are not JSON with exactly one meaning; `reason` is a short word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise JsonFault("duplicate name")
    return result


def _constant(_: str) -> object:
    raise JsonFault("not a number")


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
        raise JsonFault("integer too large")
    return int(text)


def _fraction(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise JsonFault("number too large")
    return value


def _check_depth(data: bytes, limit: int) -> None:
    """Raise JsonFault for more than `limit` nested brackets outside strings."""
    # The brackets alone, strings included, collapse in a few passes of C code for every honest
    # file; only what does not is measured exactly.
    brackets = data.translate(None, _NOT_BRACKETS)
    for _ in range(limit):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    depth = 0
    for found in _STRUCTURE.finditer(data):
        sign = found.group()[:1]
        if sign in b"[{":
            depth += 1
            if depth > limit:
                raise JsonFault("too deep")
        elif sign in b"]}":
            depth -= 1


def parse(data: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> object:
    """Parse UTF-8 JSON strictly; raises `JsonFault` and never another error for bad input."""
    if len(data) > max_bytes:
        raise JsonFault("too large")
    _check_depth(data, max_depth)
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_fraction,
        )
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode()  # fails on lone surrogates
    except JsonFault:
        raise
    except UnicodeError:
        raise JsonFault("not UTF-8") from None
    except (ValueError, RecursionError):
        raise JsonFault("not JSON") from None
    return value


def write(value: object) -> bytes:
    """Write JSON in UTF-8, readable, with a line end; the order of names is kept."""
    return (json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()
