"""Limits of the intake door of one installation (not of a municipality)."""

from __future__ import annotations

from dataclasses import dataclass

_MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class IntakeLimits:
    """Amounts in bytes and seconds.

    `free_bytes` must stay free on the disk of the receive area; `acknowledge_bytes` is how much
    of a long body may be lost when the server dies in the middle of it.
    """

    free_bytes: int
    maximum_bytes: int = 8192 * _MEBIBYTE
    open_uploads: int = 32
    acknowledge_bytes: int = 8 * _MEBIBYTE
    expire_seconds: int = 24 * 3600
    idle_seconds: int = 30
    clock_skew_seconds: int = 60
    """R-263 and the linkage specification: ±60 seconds."""
    folder_settle_seconds: int = 600
    """A carried file that has not changed for so long is as whole as it will ever be."""
    folder_keep_seconds: int = 7 * 24 * 3600
