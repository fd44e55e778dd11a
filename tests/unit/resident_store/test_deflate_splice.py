"""Pages joined like bricks are one ordinary deflate stream."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcl.resident_store import deflate_splice


@settings(max_examples=60, deadline=None)
@given(pages=st.lists(st.binary(max_size=3000), max_size=8))
def test_splice__of_any_pages__inflates_to_their_contents(pages: list[bytes]) -> None:
    stream = b"".join(map(deflate_splice.deflate_page, pages)) + deflate_splice.FINAL_BLOCK
    inflater = zlib.decompressobj(-15)
    assert inflater.decompress(stream) == b"".join(pages)
    assert inflater.eof
    assert not inflater.unused_data
    joined = 0
    for page in pages:
        joined = deflate_splice.crc32_joined(joined, deflate_splice.crc32(page), len(page))
    assert joined == zlib.crc32(b"".join(pages))


def test_inflate_page__of_a_wrong_size__refuses() -> None:
    deflated = deflate_splice.deflate_page(b"abc")
    assert deflate_splice.inflate_page(deflated, 3) == b"abc"
    with pytest.raises(ValueError, match="as long"):
        deflate_splice.inflate_page(deflated, 4)


@pytest.mark.parametrize("length", [255, 256, 65_536, 70_000, (1 << 24) + 5])
def test_crc32_joined__of_a_long_second_part__is_that_of_the_whole(length: int) -> None:
    first, second = b"first part", b"\x5a" * length
    joined = deflate_splice.crc32_joined(zlib.crc32(first), zlib.crc32(second), length)
    assert joined == zlib.crc32(first + second)
