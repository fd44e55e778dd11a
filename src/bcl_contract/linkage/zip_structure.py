"""The structure of a zip file, checked before a single byte is inflated.

The standard library accepts prefixes, suffixes, overlaps, differing headers and doubled names,
each of which lets two programs see two different transmissions. Here a zip is a row of local
entries without a gap, then the central directory saying exactly the same, then the end.
Source: APPNOTE 6.3.10 (local header 4.3.7, descriptor 4.3.9, central 4.3.12, end 4.3.14-16).
"""

from __future__ import annotations

import re
import stat
import struct
from dataclasses import dataclass
from typing import BinaryIO

STORED, DEFLATED = 0, 8
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_LOCAL_SIGN, _CENTRAL_SIGN, _END_SIGN = b"PK\3\4", b"PK\1\2", b"PK\5\6"
_END64_SIGN, _LOCATOR64_SIGN, _DESCRIPTOR_SIGN = b"PK\6\6", b"PK\6\7", b"PK\7\x08"
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED_FLAGS = 0x1 | 0x40 | 0x2000
_DESCRIPTOR_FLAG = 0x8
_LEGAL_FLAGS = 0x2 | 0x4 | _DESCRIPTOR_FLAG | 0x800
_ZIP64_EXTRA, _UNICODE_PATH_EXTRA = 0x0001, 0x7075
_RATIO_FLOOR = 1 << 20

MEMBER_NAME = re.compile(
    r"datapackage\.json(?:\.sig)?"
    r"|[0-9]{6}_[A-Z][0-9]{2}_[FD]_[0-9]{8}_[0-9]{14}\.csv"
    r"|seal/[0-9A-Za-z_-]{1,40}_[0-9]{1,3}\.png",
    re.ASCII,
)
"""The only names a transmission may hold: no path, no link, no device can be said with them."""


@dataclass(frozen=True)
class PackageLimits:
    """What a package may take: bytes of the zip, members, bytes inflated, ratio of inflation."""

    zip_bytes: int = 16 << 30
    members: int = 300_000
    inflated_bytes: int = 64 << 30
    ratio: int = 400
    manifest_bytes: int = 64 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One member: where its data starts and ends, how it is packed, how long it becomes."""

    name: str
    method: int
    flags: int
    crc32: int
    packed_bytes: int
    inflated_bytes: int
    header_at: int
    data_at: int = 0

    def with_data_at(self, data_at: int) -> Entry:
        """Give the entry with the place of its data, known once its local header was read."""
        return Entry(
            self.name,
            self.method,
            self.flags,
            self.crc32,
            self.packed_bytes,
            self.inflated_bytes,
            self.header_at,
            data_at,
        )


class ZipFault(Exception):
    """Raised when a zip breaks a rule; `code` is the refusal code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def read_entries(source: BinaryIO, limits: PackageLimits) -> dict[str, Entry]:
    """Check the whole structure; give the members by name, in their order in the file.

    `source` must be seekable. Raises `ZipFault`; inflates nothing.
    """
    size = source.seek(0, 2)
    if size > limits.zip_bytes:
        raise ZipFault("TRANSMISSION_TOO_LARGE")
    count, at, length = _read_end(source, size)
    if count > limits.members:
        raise ZipFault("TRANSMISSION_ZIP_COUNT")
    source.seek(at)
    directory = source.read(length)
    entries = _read_directory(directory, count)
    _judge_sizes(entries, limits)
    ordered = sorted(entries, key=lambda entry: entry.header_at)
    return _check_local_entries(source, ordered, at)


def _read_end(source: BinaryIO, size: int) -> tuple[int, int, int]:
    """Give (members, offset, length) of the central directory; it ends where the end starts."""
    tail_at = max(0, size - _END.size - 0xFFFF)
    source.seek(tail_at)
    tail = source.read(size - tail_at)
    if not tail.endswith(_END_SIGN + tail[-18:]) or size < _END.size or tail[-2:] != b"\0\0":
        if _END_SIGN in tail:
            raise ZipFault("TRANSMISSION_ZIP_EXTRA_BYTES")
        source.seek(0)
        known = source.read(4) == _LOCAL_SIGN
        raise ZipFault("TRANSMISSION_ZIP_TRUNCATED" if known else "TRANSMISSION_ZIP_INVALID")
    _, disk, directory_disk, here, count, length, at, _ = _END.unpack(tail[-_END.size :])
    end_at = size - _END.size
    locator_at = end_at - _LOCATOR64.size
    source.seek(max(0, locator_at))
    locator = source.read(_LOCATOR64.size) if locator_at >= 0 else b""
    if locator[:4] == _LOCATOR64_SIGN:
        count, at, length, end_at = _read_end64(
            source, locator, locator_at, classic=(here, count, length, at)
        )
    elif (disk, directory_disk) != (0, 0) or here != count:
        raise ZipFault("TRANSMISSION_ZIP_INVALID")
    if at + length != end_at:
        code = "TRANSMISSION_ZIP_EXTRA_BYTES" if at + length < end_at else "INVALID"
        raise ZipFault(code if code != "INVALID" else "TRANSMISSION_ZIP_INVALID")
    return count, at, length


def _read_end64(
    source: BinaryIO, locator: bytes, locator_at: int, *, classic: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    """Read the zip64 end; the classic end must say the same or refer to it."""
    _, disk, end64_at, disks = _LOCATOR64.unpack(locator)
    if disk != 0 or disks > 1 or end64_at + _END64.size != locator_at:
        raise ZipFault("TRANSMISSION_ZIP_INVALID")
    source.seek(end64_at)
    fields = _END64.unpack(source.read(_END64.size))
    sign, record_size, _, _, disk, directory_disk, here, count, length, at = fields
    if sign != _END64_SIGN or record_size != _END64.size - 12 or here != count:
        raise ZipFault("TRANSMISSION_ZIP_INVALID")
    if (disk, directory_disk) != (0, 0):
        raise ZipFault("TRANSMISSION_ZIP_INVALID")
    for said, true, full in zip(
        classic, (here, count, length, at), (_FULL16, _FULL16, _FULL32, _FULL32), strict=True
    ):
        if said not in (true, full):
            raise ZipFault("TRANSMISSION_ZIP_INVALID")
    return count, at, length, end64_at


def _read_directory(directory: bytes, count: int) -> list[Entry]:
    entries: list[Entry] = []
    seen: set[str] = set()
    position = 0
    for _ in range(count):
        if position + _CENTRAL.size > len(directory):
            raise ZipFault("TRANSMISSION_ZIP_INVALID")
        fields = _CENTRAL.unpack_from(directory, position)
        if fields[0] != _CENTRAL_SIGN:
            raise ZipFault("TRANSMISSION_ZIP_INVALID")
        name_length, extra_length, comment_length = fields[10:13]
        name_at = position + _CENTRAL.size
        extra_at = name_at + name_length
        position = extra_at + extra_length + comment_length
        if position > len(directory) or comment_length:
            raise ZipFault("TRANSMISSION_ZIP_EXTRA_BYTES")
        entry = _central_entry(
            fields, directory[name_at:extra_at], directory[extra_at : extra_at + extra_length]
        )
        folded = entry.name.casefold()
        if folded in seen:
            raise ZipFault("TRANSMISSION_ZIP_DUPLICATE")
        seen.add(folded)
        entries.append(entry)
    if position != len(directory):
        raise ZipFault("TRANSMISSION_ZIP_EXTRA_BYTES")
    return entries


def _central_entry(fields: tuple[int, ...], raw_name: bytes, extra: bytes) -> Entry:
    (
        _,
        made_by,
        _,
        flags,
        method,
        _,
        _,
        crc32,
        packed,
        inflated,
        _,
        _,
        _,
        disk,
        _,
        attributes,
        at,
    ) = fields
    name = _judge_name(raw_name)
    _judge_packing(flags, method)
    mode = attributes >> 16
    if (made_by >> 8 == 3 and mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG)) or (
        attributes & 0x10
    ):
        raise ZipFault("TRANSMISSION_ZIP_SPECIAL_FILE")
    inflated, packed, at, disk = _read_extra(extra, inflated, packed, at, disk)
    if disk != 0 or (method == STORED and packed != inflated):
        raise ZipFault("TRANSMISSION_ZIP_INVALID")
    return Entry(name, method, flags, crc32, packed, inflated, at)


def _judge_name(raw: bytes) -> str:
    try:
        name = raw.decode("ascii")
    except UnicodeDecodeError:
        raise ZipFault("TRANSMISSION_ZIP_NAME") from None
    if name.endswith("/"):
        raise ZipFault("TRANSMISSION_ZIP_SPECIAL_FILE")
    if not MEMBER_NAME.fullmatch(name):
        raise ZipFault("TRANSMISSION_ZIP_NAME")
    return name


def _judge_packing(flags: int, method: int) -> None:
    if flags & _ENCRYPTED_FLAGS or method == 99:
        raise ZipFault("TRANSMISSION_ZIP_ENCRYPTED")
    if method not in (STORED, DEFLATED):
        raise ZipFault("TRANSMISSION_ZIP_METHOD")
    if flags & ~_LEGAL_FLAGS or (flags & _DESCRIPTOR_FLAG and method == STORED):
        # A stored member with a descriptor has no end that two readers agree on.
        raise ZipFault("TRANSMISSION_ZIP_METHOD")


def _read_extra(extra: bytes, *values: int) -> tuple[int, int, int, int]:
    """Apply a zip64 extra field to (inflated, packed, offset, disk)."""
    if not extra:
        return values  # type: ignore[return-value]
    result, position, seen = list(values), 0, False
    while position < len(extra):
        if position + 4 > len(extra):
            raise ZipFault("TRANSMISSION_ZIP_INVALID")
        kind, length = struct.unpack_from("<2H", extra, position)
        data = extra[position + 4 : position + 4 + length]
        position += 4 + length
        if len(data) != length or kind == _UNICODE_PATH_EXTRA or (seen and kind == _ZIP64_EXTRA):
            raise ZipFault("TRANSMISSION_ZIP_INVALID")
        if kind != _ZIP64_EXTRA:
            continue
        seen = True
        used = 0
        for index, full in enumerate((_FULL32, _FULL32, _FULL32, _FULL16)[: len(result)]):
            if result[index] != full:
                continue
            form = "<I" if full == _FULL16 else "<Q"
            if used + struct.calcsize(form) > len(data):
                raise ZipFault("TRANSMISSION_ZIP_INVALID")
            result[index] = struct.unpack_from(form, data, used)[0]
            used += struct.calcsize(form)
        if used != len(data):
            raise ZipFault("TRANSMISSION_ZIP_INVALID")
    return tuple(result)  # type: ignore[return-value]


def _judge_sizes(entries: list[Entry], limits: PackageLimits) -> None:
    total = 0
    for entry in entries:
        total += entry.inflated_bytes
        if entry.inflated_bytes > max(_RATIO_FLOOR, entry.packed_bytes * limits.ratio):
            raise ZipFault("TRANSMISSION_ZIP_RATIO")
    if total > limits.inflated_bytes:
        raise ZipFault("TRANSMISSION_TOO_LARGE")


def _check_local_entries(
    source: BinaryIO, ordered: list[Entry], directory_at: int
) -> dict[str, Entry]:
    """Check every local header against the directory; entries must touch one another."""
    result: dict[str, Entry] = {}
    expected = 0
    for entry in ordered:
        if entry.header_at != expected:
            code = "OVERLAP" if entry.header_at < expected else "EXTRA_BYTES"
            raise ZipFault(f"TRANSMISSION_ZIP_{code}")
        data_at = _check_local_header(source, entry)
        data_end = data_at + entry.packed_bytes
        if data_end > directory_at:
            raise ZipFault("TRANSMISSION_ZIP_OVERLAP")
        expected = _skip_descriptor(source, entry, data_end)
        result[entry.name] = entry.with_data_at(data_at)
    if expected != directory_at:
        code = "OVERLAP" if expected > directory_at else "EXTRA_BYTES"
        raise ZipFault(f"TRANSMISSION_ZIP_{code}")
    return result


def _check_local_header(source: BinaryIO, entry: Entry) -> int:
    """Give where the data starts; the header must say what the directory says."""
    source.seek(entry.header_at)
    head = source.read(_LOCAL.size)
    if len(head) < _LOCAL.size or head[:4] != _LOCAL_SIGN:
        raise ZipFault("TRANSMISSION_ZIP_INVALID")
    _, _, flags, method, _, _, crc32, packed, inflated, name_length, extra_length = _LOCAL.unpack(
        head
    )
    rest = source.read(name_length + extra_length)
    if len(rest) < name_length + extra_length:
        raise ZipFault("TRANSMISSION_ZIP_TRUNCATED")
    if flags & _DESCRIPTOR_FLAG and (crc32, packed, inflated) == (0, 0, 0):
        said = (entry.crc32, entry.inflated_bytes, entry.packed_bytes)
    else:
        large, small, *_ = (*_read_extra(rest[name_length:], inflated, packed), 0, 0)
        said = (crc32, large, small)
    if (rest[:name_length], flags, method) != (entry.name.encode(), entry.flags, entry.method):
        raise ZipFault("TRANSMISSION_ZIP_HEADERS_DIFFER")
    if said != (entry.crc32, entry.inflated_bytes, entry.packed_bytes):
        raise ZipFault("TRANSMISSION_ZIP_HEADERS_DIFFER")
    return entry.header_at + _LOCAL.size + name_length + extra_length


def _skip_descriptor(source: BinaryIO, entry: Entry, data_end: int) -> int:
    """Give where the entry ends; a data descriptor must say what the directory says."""
    if not entry.flags & _DESCRIPTOR_FLAG:
        return data_end
    source.seek(data_end)
    tail = source.read(24)
    for sign in (_DESCRIPTOR_SIGN, b""):
        for form in ("<3I", "<I2Q"):
            length = len(sign) + struct.calcsize(form)
            if not tail.startswith(sign) or len(tail) < length:
                continue
            values = struct.unpack_from(form, tail, len(sign))
            follows = tail[length : length + 4] in (_LOCAL_SIGN, _CENTRAL_SIGN, b"")
            if values == (entry.crc32, entry.packed_bytes, entry.inflated_bytes) and (
                follows or length == len(tail)
            ):
                return data_end + length
    raise ZipFault("TRANSMISSION_ZIP_HEADERS_DIFFER")
