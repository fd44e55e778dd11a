"""The condition grammar of the layouts, e.g. ``resident_kind=2 and empty(full_name_kanji)``.

    condition  = "warn(" any ")" | any
    any        = all *( "or" all )
    all        = term *( "and" term )
    term       = "empty(" name ")" | "filled(" name ")"
               | name "=" value | name "!=" value | name "in" value *( "|" value )

``warn(…)`` means that absence only warns (legal blanks). An empty field equals nothing and
differs from nothing: ``x!=1`` is false when x is empty (its own rule reports that).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

_TOKEN = re.compile(r"\s*(?:(\w+)|(!=|=|\||\(|\)))")
_WORDS = frozenset({"and", "or", "in", "empty", "filled", "warn"})


class ConditionFault(ValueError):
    """Raised for text that is not a condition: a defect of the data file."""


class Columns(Protocol):
    """What a condition asks of rows: bool arrays, one value a row."""

    def filled(self, name: str) -> np.ndarray:
        """Whether the column has a value."""

    def equals(self, name: str, value: str) -> np.ndarray:
        """Whether the column's value is exactly `value`."""


class _Row:
    """One row as `Columns`, for single records and tests."""

    def __init__(self, values: Mapping[str, str | None]) -> None:
        self._values = values

    def filled(self, name: str) -> np.ndarray:
        return np.array([bool(self._values.get(name))])

    def equals(self, name: str, value: str) -> np.ndarray:
        return np.array([self._values.get(name) == value])


class _Term(Protocol):
    def holds(self, columns: Columns) -> np.ndarray: ...

    def names(self) -> frozenset[str]: ...


@dataclass(frozen=True)
class _Presence:
    name: str
    wanted: bool

    def holds(self, columns: Columns) -> np.ndarray:
        filled = columns.filled(self.name)
        return filled if self.wanted else ~filled

    def names(self) -> frozenset[str]:
        return frozenset({self.name})


@dataclass(frozen=True)
class _Comparison:
    name: str
    values: tuple[str, ...]
    negated: bool

    def holds(self, columns: Columns) -> np.ndarray:
        result = columns.equals(self.name, self.values[0])
        for value in self.values[1:]:
            result = result | columns.equals(self.name, value)
        return (~result & columns.filled(self.name)) if self.negated else result

    def names(self) -> frozenset[str]:
        return frozenset({self.name})


@dataclass(frozen=True)
class _Joined:
    terms: tuple[_Term, ...]
    every: bool

    def holds(self, columns: Columns) -> np.ndarray:
        result = self.terms[0].holds(columns)
        for term in self.terms[1:]:
            held = term.holds(columns)
            result = (result & held) if self.every else (result | held)
        return result

    def names(self) -> frozenset[str]:
        return frozenset().union(*(term.names() for term in self.terms))


@dataclass(frozen=True)
class Condition:
    """A parsed condition. `warns` says that its absence rule only warns."""

    text: str
    warns: bool
    term: _Term

    def holds(self, columns: Columns) -> np.ndarray:
        """Give bool (rows): where the condition holds."""
        return self.term.holds(columns)

    def holds_for(self, values: Mapping[str, str | None]) -> bool:
        """Say whether the condition holds for one record (English name -> value)."""
        return bool(self.term.holds(_Row(values))[0])

    def names(self) -> frozenset[str]:
        """The English names of the columns it reads."""
        return self.term.names()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        self._text = text
        position = 0
        while position < len(text.rstrip()):
            found = _TOKEN.match(text, position)
            if found is None:
                raise ConditionFault(text)
            self._tokens.append(found.group(1) or found.group(2))
            position = found.end()
        self._tokens.append("")
        self._at = 0

    def _next(self) -> str:
        token = self._tokens[self._at]
        self._at += bool(token)
        return token

    def _peek(self) -> str:
        return self._tokens[self._at]

    def _expect(self, token: str) -> None:
        if self._next() != token:
            raise ConditionFault(self._text)

    def _word(self) -> str:
        token = self._next()
        if not token or not token[0].isalnum() or token in _WORDS:
            raise ConditionFault(self._text)
        return token

    def condition(self) -> Condition:
        warns = self._peek() == "warn"
        if warns:
            self._next()
            self._expect("(")
        term = self._any()
        if warns:
            self._expect(")")
        self._expect("")
        return Condition(self._text, warns, term)

    def _any(self) -> _Term:
        terms = [self._all()]
        while self._peek() == "or":
            self._next()
            terms.append(self._all())
        return terms[0] if len(terms) == 1 else _Joined(tuple(terms), every=False)

    def _all(self) -> _Term:
        terms = [self._one()]
        while self._peek() == "and":
            self._next()
            terms.append(self._one())
        return terms[0] if len(terms) == 1 else _Joined(tuple(terms), every=True)

    def _one(self) -> _Term:
        if self._peek() in ("empty", "filled"):
            wanted = self._next() == "filled"
            self._expect("(")
            name = self._word()
            self._expect(")")
            return _Presence(name, wanted)
        name, operator = self._word(), self._next()
        if operator not in ("=", "!=", "in"):
            raise ConditionFault(self._text)
        values = [self._word()]
        while operator == "in" and self._peek() == "|":
            self._next()
            values.append(self._word())
        return _Comparison(name, tuple(values), negated=operator == "!=")


@lru_cache(maxsize=1024)
def parse_condition(text: str) -> Condition:
    """Parse a condition; raises `ConditionFault` (a defect of the layout data)."""
    return _Parser(text).condition()
