"""Numbers the town gives out, made for whole columns at once.

A person number is a plain counter inside one town: 1..9,999 for planted persons, then one
stride per generated block, then persons who arrive while the town lives. Everything else
(addressee number, resident record code, certificate serial) follows from it.
"""

from __future__ import annotations

import binascii

import numpy as np
import polars as pl

PLANTED_LIMIT = 10_000
BLOCK_STRIDE = 50_000
ARRIVAL_START = 500_000_000
NONREGISTERED_START = 800_000_000
MAIN_ISSUER_KEY = "1329affb23ffe6044771ad33e9cd1a29ea9dfe3436f6564af3bfe4cbac0b4af1"
"""Default issuer key of card certificates: that of the simulated JPKI (`bcl_contract.jpki`)."""
SMARTPHONE_ISSUER_KEY = "7e0d" * 16
"""Default issuer key of smartphone certificates."""


def _padded(numbers: np.ndarray, width: int) -> np.ndarray:
    """Digits of each number as a (count, width) array of 0..9."""
    digits = np.empty((len(numbers), width), dtype=np.int64)
    rest = numbers.astype(np.uint64)
    for column in range(width - 1, -1, -1):
        digits[:, column] = (rest % np.uint64(10)).astype(np.int64)
        rest = rest // np.uint64(10)
    return digits


def _digit_texts(digits: np.ndarray) -> pl.Series:
    count, width = digits.shape
    text = (digits + 48).astype(np.uint8).tobytes().decode("ascii")
    return pl.Series([text[i * width : (i + 1) * width] for i in range(count)], dtype=pl.String)


def _check_digit(digits: np.ndarray, weights: tuple[int, ...]) -> np.ndarray:
    """Modulus 11 with remainder 0 or 1 giving 0 (Individual Number and resident record code)."""
    rest = (digits * np.array(weights)).sum(axis=1) % 11
    return np.where(rest <= 1, 0, 11 - rest)


def addressee_numbers(persons: np.ndarray) -> pl.Series:
    """15 digits: the person number, a check digit of our own, zero-padded in front."""
    digits = _padded(persons, 14)
    check = (digits * np.arange(14, 0, -1)).sum(axis=1) % 10
    return _digit_texts(np.column_stack([digits, check]))


def addressee_number(person: int) -> str:
    """One addressee number."""
    return addressee_numbers(np.array([person]))[0]


def household_numbers(households: np.ndarray) -> pl.Series:
    """15 digits with leading zeros, in another range of digits than addressee numbers."""
    return _digit_texts(_padded(households.astype(np.int64) + 700_000_000_000, 15))


def household_number(household: int) -> str:
    """One household number."""
    return household_numbers(np.array([household]))[0]


def resident_record_codes(persons: np.ndarray, seed: int) -> pl.Series:
    """11 digits with the modulus-11 check digit; unique in a town, not in order."""
    # An odd factor that 5 does not divide walks through all 10^10 values without repeating.
    factor, shift = np.uint64(7_365_148_373), np.uint64((seed * 2_654_435_761) % 10**10)
    mixed = (persons.astype(np.uint64) * factor % np.uint64(10**10) + shift) % np.uint64(10**10)
    digits = _padded(mixed, 10)
    check = _check_digit(digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2))
    return _digit_texts(np.column_stack([digits, check]))


def resident_record_code(person: int, seed: int) -> str:
    """One resident record code."""
    return resident_record_codes(np.array([person]), seed)[0]


def mix(values: np.ndarray, seed: int) -> np.ndarray:
    """splitmix64 of the values: the same town always gets the same numbers."""
    offset = np.uint64((seed * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) % 2**64)
    with np.errstate(over="ignore"):
        z = values.astype(np.uint64) + offset
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def serial_numbers(persons: np.ndarray, ordinals: np.ndarray, seed: int, town: int) -> pl.Series:
    """Certificate serials: 20 upper-case hex digits, first digit never zero.

    `ordinals` counts the cards a person has had; `town` keeps two towns of one seed apart.
    """
    mixed = mix(persons.astype(np.uint64) * np.uint64(64) + ordinals.astype(np.uint64), seed)
    prefix = (np.uint64(0x4000 | (town % 0x3FFF)) * np.ones(len(mixed), np.uint64)).astype(">u2")
    raw = np.empty((len(mixed), 10), dtype=np.uint8)
    raw[:, :2] = np.frombuffer(prefix.tobytes(), dtype=np.uint8).reshape(-1, 2)
    raw[:, 2:] = np.frombuffer(mixed.astype(">u8").tobytes(), dtype=np.uint8).reshape(-1, 8)
    text = binascii.hexlify(raw.tobytes()).decode("ascii").upper()
    return pl.Series([text[i * 20 : i * 20 + 20] for i in range(len(mixed))], dtype=pl.String)


def serial_number(person: int, ordinal: int, seed: int, town: int) -> str:
    """One certificate serial."""
    return serial_numbers(np.array([person]), np.array([ordinal]), seed, town)[0]


def municipality_check_digit(code: str) -> int:
    """Check digit of the first five digits of a local government code (JIS X 0402)."""
    total = sum(int(c) * w for c, w in zip(code[:5], (6, 5, 4, 3, 2), strict=True))
    return (11 - total % 11) % 10
