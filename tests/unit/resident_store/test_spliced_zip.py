"""A spliced zip is an ordinary zip, written to a target that can't seek."""

from __future__ import annotations

import io
import zipfile

from bcl.resident_store import deflate_splice
from bcl.resident_store.spliced_zip import SplicedZip


class Pipe(io.RawIOBase):
    """Takes bytes and can neither seek nor tell."""

    def __init__(self) -> None:
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:  # type: ignore[override]
        self.content += bytes(data)
        return len(data)

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation


def test_spliced_zip__is_opened_by_the_standard_library() -> None:
    target = Pipe()
    writer = SplicedZip(target)  # type: ignore[arg-type]
    pages = [f"頁{number}\r\n".encode() * 100 for number in range(5)]
    with writer.member("table.csv") as member:
        for page in pages:
            member.add_page(
                deflate_splice.deflate_page(page), clear_size=len(page),
                crc32=deflate_splice.crc32(page),
            )
    writer.add("empty.txt", [])
    writer.add("small.txt", [b"a", b"b"])
    writer.finish()
    with zipfile.ZipFile(io.BytesIO(target.content)) as package:
        assert package.testzip() is None
        assert package.namelist() == ["table.csv", "empty.txt", "small.txt"]
        assert package.read("table.csv") == b"".join(pages)
        assert package.read("empty.txt") == b""
        assert package.read("small.txt") == b"ab"
