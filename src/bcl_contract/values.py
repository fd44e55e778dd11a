"""Value types of the register: numbers with their check digits, dates with unknown parts.

Owns: what a municipality code, an addressee number, an Individual Number … may look like.
Promises: a value that exists is well formed; printing one never shows it whole.
Never: computes an identity across municipalities (decision D1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import ClassVar, Self

_MUNICIPALITY_WEIGHTS = (6, 5, 4, 3, 2)
_INDIVIDUAL_NUMBER_WEIGHTS = (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)
_RECORD_CODE_WEIGHTS = (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)
_ASCII_DIGITS = re.compile(r"[0-9]+", re.ASCII)


class InvalidValue(ValueError):
    """Raised when text is not a value of the type; the message never holds the text."""


def _weighted_sum(digits: str, weights: tuple[int, ...]) -> int:
    if len(digits) != len(weights) or not _ASCII_DIGITS.fullmatch(digits):
        raise InvalidValue(f"{len(weights)} digits are needed")
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True))


def municipality_check_digit(first_five: str) -> str:
    """Compute the sixth digit of a local government code (全国地方公共団体コード)."""
    return str((11 - _weighted_sum(first_five, _MUNICIPALITY_WEIGHTS) % 11) % 10)


def individual_number_check_digit(first_eleven: str) -> str:
    """Compute the twelfth digit of an Individual Number (個人番号, ministerial ordinance)."""
    rest = _weighted_sum(first_eleven, _INDIVIDUAL_NUMBER_WEIGHTS) % 11
    return "0" if rest <= 1 else str(11 - rest)


def resident_record_check_digit(first_ten: str) -> str:
    """Compute the eleventh digit of a resident record code (住民票コード).

    The rule is not published by an official source, so a mismatch only ever warns.
    """
    rest = _weighted_sum(first_ten, _RECORD_CODE_WEIGHTS) % 11
    return "0" if rest <= 1 else str(11 - rest)


@dataclass(frozen=True, order=True)
class _Number:
    """Text of digits with a pattern of its class; shown with its last digits only."""

    text: str

    pattern: ClassVar[re.Pattern[str]] = _ASCII_DIGITS
    shown_digits: ClassVar[int] = 4

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.pattern.fullmatch(self.text):
            raise InvalidValue(f"not a {type(self).__name__}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Make the value from text; `InvalidValue` when it is malformed."""
        return cls(text)

    def __str__(self) -> str:
        return repr(self)

    def __repr__(self) -> str:
        hidden = self.text[-self.shown_digits :] if self.shown_digits else ""
        return f"{type(self).__name__}(****{hidden})"


@dataclass(frozen=True, order=True, repr=False)
class MunicipalityCode(_Number):
    """Local government code (団体コード): six digits as text, check digit verified.

    Not personal data: it is shown whole.
    """

    pattern: ClassVar[re.Pattern[str]] = re.compile(r"[0-9]{6}", re.ASCII)

    def __post_init__(self) -> None:
        super().__post_init__()
        if municipality_check_digit(self.text[:5]) != self.text[5]:
            raise InvalidValue("wrong check digit of a MunicipalityCode")

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"MunicipalityCode({self.text})"


@dataclass(frozen=True, order=True, repr=False)
class AddresseeNumber(_Number):
    """Addressee number (宛名番号): up to 15 digits; leading zeros belong to it."""

    pattern: ClassVar[re.Pattern[str]] = re.compile(r"[0-9]{1,15}", re.ASCII)


@dataclass(frozen=True, order=True, repr=False)
class HouseholdNumber(_Number):
    """Household number (世帯番号): up to 15 digits; leading zeros belong to it."""

    pattern: ClassVar[re.Pattern[str]] = re.compile(r"[0-9]{1,15}", re.ASCII)


@dataclass(frozen=True, order=True, repr=False)
class ResidentRecordCode(_Number):
    """Resident record code (住民票コード): eleven digits."""

    pattern: ClassVar[re.Pattern[str]] = re.compile(r"[0-9]{11}", re.ASCII)
    shown_digits: ClassVar[int] = 0

    @property
    def check_digit_agrees(self) -> bool:
        """Whether the last digit follows the (unofficial) rule; a mismatch only warns."""
        return resident_record_check_digit(self.text[:10]) == self.text[10]


@dataclass(frozen=True, order=True, repr=False)
class IndividualNumber(_Number):
    """Individual Number (個人番号): twelve digits, check digit verified, never shown."""

    pattern: ClassVar[re.Pattern[str]] = re.compile(r"[0-9]{12}", re.ASCII)
    shown_digits: ClassVar[int] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if individual_number_check_digit(self.text[:11]) != self.text[11]:
            raise InvalidValue("wrong check digit of an IndividualNumber")


@dataclass(frozen=True, order=True, repr=False)
class SerialNumber(_Number):
    """Serial of a digital certificate: hexadecimal, upper case, no leading zero, ≤ 40."""

    pattern: ClassVar[re.Pattern[str]] = re.compile(r"[1-9A-F][0-9A-F]{0,39}", re.ASCII)

    @classmethod
    def of_integer(cls, serial: int) -> Self:
        """Make the value from the integer of an X.509 certificate (must be positive)."""
        if serial <= 0:
            raise InvalidValue("a serial is positive")
        return cls(format(serial, "X"))


class CertificateKind(StrEnum):
    """The kinds of certificate that BCL issues (証明書の種類)."""

    RESIDENT_RECORD_COPY = "RESIDENT_RECORD_COPY"
    SEAL_REGISTRATION = "SEAL_REGISTRATION"
    TAX = "TAX"

    @property
    def label_ja(self) -> str:
        """The name shown to people."""
        return _KIND_LABELS[self]


_KIND_LABELS = {
    CertificateKind.RESIDENT_RECORD_COPY: "住民票の写し",
    CertificateKind.SEAL_REGISTRATION: "印鑑登録証明書",
    CertificateKind.TAX: "税証明書",
}

# First day of each era: Cabinet orders on the era name; Meiji counts from the solar calendar.
ERAS: tuple[tuple[date, str, str], ...] = (
    (date(1868, 1, 25), "1", "明治"),
    (date(1912, 7, 30), "2", "大正"),
    (date(1926, 12, 25), "3", "昭和"),
    (date(1989, 1, 8), "4", "平成"),
    (date(2019, 5, 1), "5", "令和"),
)


def era_of(day: date) -> tuple[str, str, int]:
    """Give (era code, era name, year of the era) of a day; `InvalidValue` before Meiji."""
    for first, code, name in reversed(ERAS):
        if day >= first:
            return code, name, day.year - first.year + 1
    raise InvalidValue("before the first era")


def format_wareki_year(day: date) -> str:
    """Write the year of a day in the Japanese calendar, e.g. 令和8年, 令和元年."""
    _, name, year = era_of(day)
    return f"{name}{'元' if year == 1 else year}年"


def format_wareki(day: date) -> str:
    """Write a date in the Japanese calendar, e.g. 令和8年11月22日, 令和元年5月1日."""
    return f"{format_wareki_year(day)}{day.month}月{day.day}日"


@dataclass(frozen=True)
class PartialDate:
    """A date of the register whose parts may be unknown (不詳).

    `provisional` is the date that stands in the column (may be None), `unknown` the flag,
    `as_written` the text that is printed when the date is unknown, e.g. 昭和10年月日不詳.
    """

    provisional: date | None
    unknown: bool = False
    as_written: str = ""

    @classmethod
    def of_columns(cls, day: str | None, unknown: str | None, as_written: str | None) -> Self:
        """Make the value from three columns of a layout (YYYY-MM-DD, 0/1, text)."""
        try:
            parsed = date.fromisoformat(day) if day else None
        except ValueError:
            raise InvalidValue("not a date") from None
        return cls(parsed, unknown == "1", as_written or "")

    def written(self, *, western: bool = False) -> str:
        """Write the date as it is printed: the as-written text wins when it is unknown.

        `western` writes 1990年4月1日 (foreign residents). Gives "" when there is no date.
        Raises `InvalidValue` for an unknown date without its text: inventing one is a lie.
        """
        if self.unknown:
            if not self.as_written:
                raise InvalidValue("an unknown date without its as-written text")
            return self.as_written
        if self.provisional is None:
            return ""
        if western:
            day = self.provisional
            return f"{day.year}年{day.month}月{day.day}日"
        return format_wareki(self.provisional)

    def __repr__(self) -> str:
        return "PartialDate(****)"

    __str__ = __repr__
