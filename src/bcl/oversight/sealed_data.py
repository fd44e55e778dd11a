"""Where oversight keeps sealed values."""

from __future__ import annotations

from bcl.foundation.sealed_data import SealedCells, SealedData

SEALED: list[SealedData] = [
    SealedCells("oversight_dataexport", "sealed_filter", place=("token",)),
    SealedCells("oversight_dataexport", "sealed_persons", place=("token",)),
    SealedCells("oversight_lookstatement", "sealed_person", place=("token",)),
]
