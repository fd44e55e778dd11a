"""AES-CMAC over columns equals the library's CMAC, value by value."""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given, settings
from hypothesis import strategies as st

from bcl.resident_store.column_cmac import ColumnCmac


def reference(key: bytes, message: bytes) -> bytes:
    mac = CMAC(AES(key))
    mac.update(message)
    return mac.finalize()


@pytest.mark.requirement("R-027")
@settings(max_examples=80, deadline=None)
@given(
    key=st.binary(min_size=32, max_size=32),
    messages=st.lists(st.binary(max_size=70), min_size=1, max_size=20),
)
def test_tags__of_any_column__equal_the_library(key: bytes, messages: list[bytes]) -> None:
    width = max(map(len, messages))
    matrix = np.zeros((len(messages), width), dtype=np.uint8)
    for row, message in enumerate(messages):
        matrix[row, : len(message)] = np.frombuffer(message, dtype=np.uint8)
    tags = ColumnCmac(key).tags(matrix, np.array(list(map(len, messages))))
    assert [tag.tobytes() for tag in tags] == [reference(key, m) for m in messages]


def test_tags__of_the_example_of_the_standard__are_its_values() -> None:
    # NIST SP 800-38B, appendix D.3 (AES-256).
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    message = bytes.fromhex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411"
    )
    mac = ColumnCmac(key)
    expected = {
        0: "028962f61b7bf89efc6b551f4667d983",
        16: "28a7023f452e8f82bd4bf28d8c37c35c",
        40: "aaf3d8f1de5640c232f5b169b9c911e6",
    }
    for length, tag in expected.items():
        row = np.frombuffer(message[:length], dtype=np.uint8).reshape(1, -1)
        assert mac.tags(row, np.array([length])).tobytes().hex() == tag
        assert mac.tag(message[:length]).hex() == tag


def test_tags__of_no_rows__are_no_rows() -> None:
    tags = ColumnCmac(bytes(32)).tags(np.zeros((0, 16), np.uint8), np.zeros(0, np.int64))
    assert tags.shape == (0, 16)
