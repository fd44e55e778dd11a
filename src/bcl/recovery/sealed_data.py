"""Where recovery keeps sealed values."""

from __future__ import annotations

from bcl.foundation.sealed_data import SealedCells, SealedData

SEALED: list[SealedData] = [
    SealedCells("recovery_recoveryexport", "sealed_reason", place=("request_signature",)),
]
