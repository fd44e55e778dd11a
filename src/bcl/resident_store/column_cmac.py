"""AES-CMAC (NIST SP 800-38B) over a whole column at once.

Owns: one function of arrays; a million short values cost a handful of OpenSSL calls.
Promises: every row equals `cryptography`'s CMAC of that row's bytes (tests assert it).
"""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

BLOCK = 16
_REDUCTION = 0x87


class ColumnCmac:
    """AES-CMAC under one 32-byte key; `tags` works on columns, `tag` on one value."""

    def __init__(self, key: bytes) -> None:
        # ECB is the raw block function here: CMAC builds its own chaining from it.
        self._algorithm = algorithms.AES(key)
        self._cipher = Cipher(self._algorithm, modes.ECB())  # noqa: S305
        zero = self.encrypt_blocks(np.zeros((1, BLOCK), dtype=np.uint8))[0].tobytes()
        first = _double(zero)
        self._ends = _ends(whole=first, padded=_double(first))

    def encrypt_blocks(self, blocks: np.ndarray) -> np.ndarray:
        """Encrypt uint8 (n, 16) block by block; gives uint8 (n, 16)."""
        source = np.ascontiguousarray(blocks).view(np.uint8).reshape(-1)
        target = np.empty(len(source) + BLOCK - 1, dtype=np.uint8)
        self._cipher.encryptor().update_into(source.data, target.data)
        return target[: len(source)].reshape(-1, BLOCK)

    def tags(self, messages: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """MAC every row: uint8 (n, width), bytes behind `lengths` zero; gives uint8 (n, 16)."""
        rows, width = messages.shape
        lengths = lengths.astype(np.int64, copy=False)
        blocks_of = np.maximum(1, -(-lengths // BLOCK))
        most = int(blocks_of.max(initial=1))
        if width != most * BLOCK:
            fitted = np.zeros((rows, most * BLOCK), dtype=np.uint8)
            fitted[:, : min(width, most * BLOCK)] = messages[:, : most * BLOCK]
            messages = fitted
        state = np.zeros((rows, 2), dtype=np.uint64)
        for position in range(most):
            chosen = np.flatnonzero(blocks_of > position)
            block = np.ascontiguousarray(
                messages[:, position * BLOCK : (position + 1) * BLOCK]
            ).view(np.uint64)
            mixed = state ^ block if len(chosen) == rows else state[chosen] ^ block[chosen]
            left = lengths - position * BLOCK if len(chosen) == rows else (
                lengths[chosen] - position * BLOCK
            )
            mixed ^= self._ends[np.minimum(left, BLOCK + 1)]
            encrypted = self.encrypt_blocks(mixed).view(np.uint64)
            if len(chosen) == rows:
                state = encrypted
            else:
                state[chosen] = encrypted
        return state.view(np.uint8).reshape(rows, BLOCK)

    def tag(self, message: bytes) -> bytes:
        """MAC one value (the library's own CMAC: cheaper than arrays for one)."""
        mac = CMAC(self._algorithm)
        mac.update(message)
        return mac.finalize()


def _ends(*, whole: bytes, padded: bytes) -> np.ndarray:
    """What a message's last block is mixed with, by the bytes in it: uint64 (18, 2).

    With 16 bytes the one subkey; with fewer the first bit behind them and the other subkey; in
    row 17 nothing, for blocks that are not the last.
    """
    ends = np.zeros((BLOCK + 2, BLOCK), dtype=np.uint8)
    ends[:BLOCK] = np.frombuffer(padded, dtype=np.uint8)
    ends[np.arange(BLOCK), np.arange(BLOCK)] ^= 0x80
    ends[BLOCK] = np.frombuffer(whole, dtype=np.uint8)
    return ends.view(np.uint64)


def _double(block: bytes) -> bytes:
    """Multiply by x in GF(2^128): the subkey step of SP 800-38B §6.1."""
    number = int.from_bytes(block, "big") << 1
    if number >> 128:
        number = (number & ((1 << 128) - 1)) ^ _REDUCTION
    return number.to_bytes(BLOCK, "big")
