"""A zip written in one go to a target that can't seek, from pieces that are deflated already.

Every member ends in a data descriptor (APPNOTE 4.3.9) with 64-bit sizes: nothing about a member
has to be known before its last piece is written.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from bcl.resident_store import deflate_splice

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_VERSION, _UNIX, _DEFLATED, _SIZES_BEHIND = 45, 3, 8, 8
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
# A fixed time makes equal contents equal files; business times stand in the manifest.
_TIME, _DATE = 0, 0x21


class SplicedMember:
    """One member being written: deflated pieces go in, CRC and sizes are kept."""

    def __init__(self, target: BinaryIO) -> None:
        self.crc32 = self.clear_size = self.packed_size = 0
        self._target = target

    def add_page(self, deflated: bytes, *, clear_size: int, crc32: int) -> None:
        """Add a piece of `deflate_splice.deflate_page` with what is known of its content."""
        self.crc32 = deflate_splice.crc32_joined(self.crc32, crc32, clear_size)
        self.clear_size += clear_size
        self._write(deflated)

    def add(self, clear: bytes) -> None:
        """Add clear bytes."""
        self.add_page(
            deflate_splice.deflate_page(clear), clear_size=len(clear),
            crc32=deflate_splice.crc32(clear),
        )

    def _write(self, packed: bytes) -> None:
        self._target.write(packed)
        self.packed_size += len(packed)


class SplicedZip:
    """Writes members one behind the other; `finish` writes the directory."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._at = 0
        self._central: list[bytes] = []

    @contextmanager
    def member(self, name: str) -> Iterator[SplicedMember]:
        """Open one member for writing; it is complete when the block ends without error."""
        raw, start = name.encode("ascii"), self._at
        extra = struct.pack("<2H2Q", 1, 16, 0, 0)
        head = (b"PK\3\4", _VERSION, _SIZES_BEHIND, _DEFLATED, _TIME, _DATE, 0)
        self._write(_LOCAL.pack(*head, _FULL32, _FULL32, len(raw), len(extra)) + raw + extra)
        member = SplicedMember(self._target)
        yield member
        member._write(deflate_splice.FINAL_BLOCK)
        self._at += member.packed_size
        sizes = (member.crc32, member.packed_size, member.clear_size)
        self._write(struct.pack("<4sI2Q", b"PK\7\x08", *sizes))
        self._central.append(_central_entry(raw, sizes, start))

    def add(self, name: str, parts: Iterable[bytes]) -> None:
        """Write a whole member from clear parts."""
        with self.member(name) as member:
            for part in parts:
                member.add(part)

    def finish(self) -> None:
        """Write the central directory; nothing may follow."""
        start, count = self._at, len(self._central)
        self._write(b"".join(self._central))
        length, end64 = self._at - start, self._at
        head = (b"PK\6\6", 44, (_UNIX << 8) | _VERSION, _VERSION, 0, 0)
        self._write(struct.pack("<4sQ2H2I4Q", *head, count, count, length, start))
        self._write(struct.pack("<4sIQI", b"PK\6\7", 0, end64, 1))
        few = min(count, _FULL16)
        self._write(
            struct.pack(
                "<4s4H2IH", b"PK\5\6", 0, 0, few, few, min(length, _FULL32),
                min(start, _FULL32), 0,
            )
        )

    def _write(self, data: bytes) -> None:
        self._target.write(data)
        self._at += len(data)


def _central_entry(name: bytes, sizes: tuple[int, int, int], start: int) -> bytes:
    crc32, packed, clear = sizes
    extra = struct.pack("<2H3Q", 1, 24, clear, packed, start)
    head = (b"PK\1\2", (_UNIX << 8) | _VERSION, _VERSION, _SIZES_BEHIND, _DEFLATED, _TIME, _DATE)
    tail = (len(name), len(extra), 0, 0, 0, 0o100600 << 16, _FULL32)
    return _CENTRAL.pack(*head, crc32, _FULL32, _FULL32, *tail) + name + extra
