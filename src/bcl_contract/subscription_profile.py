"""The profile of a subscription: one file says who gets which columns, why, and no more (R-029).

    name = "school-roll"
    title = "学齢簿システム"
    purpose = "学齢簿の編製"
    legal_basis = "学校教育法施行令第1条"
    subscriber = "school-system"            # registered with `bcl register subscriber`
    towns = ["999997"]
    search = ["person"]                     # optional: what single persons may be asked for by
    history = false                         # optional: also rows that are not the newest

    [columns]
    J01 = ["addressee_number", "full_name"]

    [allow]                                 # optional: classes beyond the ordinary ones, each with
    sensitive = "就学の判断に本籍が要る"       # the reason why the purpose can't do without

`parse_profile` refuses what it doesn't know: a profile never gives more than it says.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bcl_contract.linkage.layouts import load_interface
from bcl_contract.receipts import canonical_json
from bcl_contract.refusals import Refusal
from bcl_contract.values import InvalidValue, MunicipalityCode

PROFILE_BYTES = 64 << 10
PROTECTED_PLACES = "protected_places"
"""Allowing this class gives the places of persons under a protective measure too."""
CLASSES_TO_ALLOW = ("sensitive", "individual_number", "secret_image", PROTECTED_PLACES)
SEARCH_KINDS = ("person", "household", "name", "kana", "born")
# Individual numbers have a store of their own, which nobody subscribes to.
_NOT_KEPT = frozenset({"J07"})
# A building says where its owner and its households are, and is no record of any of them: nothing
# could be withheld for a protected one.
_PEOPLE_AT_PLACES = {
    "B03": {
        "owner_addressee_number", "owner_name", "owner_address", "resident_household_numbers",
    },
}
_ID = re.compile(r"[a-z0-9][a-z0-9-]{1,31}\Z")
_FIELDS = {
    "name": str, "title": str, "purpose": str, "legal_basis": str, "subscriber": str,
    "towns": list, "columns": dict,
}
_OPTIONAL = {"search": list, "history": bool, "allow": dict}
_TEXT_LENGTH = 200


@dataclass(frozen=True)
class SubscriptionProfile:
    """A profile that holds. `columns`: file id -> English column names in the layout's order;
    `allow`: class -> reason."""

    name: str
    title_ja: str
    purpose_ja: str
    legal_basis_ja: str
    subscriber_id: str
    towns: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    search: tuple[str, ...] = ()
    history: bool = False
    allow: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The canonical form: what is stored, approved and compared."""
        return {
            "name": self.name,
            "title": self.title_ja,
            "purpose": self.purpose_ja,
            "legal_basis": self.legal_basis_ja,
            "subscriber": self.subscriber_id,
            "towns": list(self.towns),
            "columns": {file_id: list(names) for file_id, names in self.columns.items()},
            "search": list(self.search),
            "history": self.history,
            "allow": dict(self.allow),
        }

    @property
    def sha256(self) -> str:
        """Digest of the canonical form: what a second person approves."""
        return hashlib.sha256(canonical_json(self.as_json())).hexdigest()

    @property
    def classes(self) -> str:
        """The classes beyond the ordinary ones, joined by `+`: the approver has to name them."""
        return "+".join(sorted(self.allow))


def parse_profile(content: bytes) -> SubscriptionProfile | Refusal:
    """Read a profile (TOML), or say what is wrong: field, file and column, never a guess."""
    if len(content) > PROFILE_BYTES:
        return Refusal("SUBSCRIPTION_PROFILE_UNREADABLE")
    try:
        raw = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        return Refusal("SUBSCRIPTION_PROFILE_UNREADABLE")
    return profile_of(raw)


def profile_of(raw: Mapping[str, Any]) -> SubscriptionProfile | Refusal:
    """A profile of its fields, as `as_json` gives them or a file has them."""
    for check in (_wrong_form, _wrong_words, _wrong_columns, _class_not_allowed):
        refusal = check(raw)
        if refusal is not None:
            return refusal
    return SubscriptionProfile(
        name=raw["name"],
        title_ja=raw["title"],
        purpose_ja=raw["purpose"],
        legal_basis_ja=raw["legal_basis"],
        subscriber_id=raw["subscriber"],
        towns=tuple(sorted(raw["towns"])),
        columns=_in_order(raw["columns"]),
        search=tuple(sorted(raw.get("search", []))),
        history=raw.get("history", False),
        allow=dict(sorted(raw.get("allow", {}).items())),
    )


def _form(name: str) -> Refusal:
    return Refusal("SUBSCRIPTION_PROFILE_FORM", {"field": name})


def _wrong_form(raw: Mapping[str, Any]) -> Refusal | None:
    for name, kind in _FIELDS.items():
        if not isinstance(raw.get(name), kind) or not raw[name]:
            return _form(name)
    for name, kind in _OPTIONAL.items():
        if name in raw and not isinstance(raw[name], kind):
            return _form(name)
    # The unknown field's own name came from outside: it stays out of the answer.
    return _form("(unknown)") if set(raw) - set(_FIELDS) - set(_OPTIONAL) else None


def _wrong_words(raw: Mapping[str, Any]) -> Refusal | None:
    for name in ("name", "subscriber"):
        if not _ID.match(raw[name]):
            return _form(name)
    for name in ("title", "purpose", "legal_basis"):
        if not _is_text(raw[name]):
            return _form(name)
    if not _are_unique_texts(raw["towns"]) or not all(map(_is_municipality, raw["towns"])):
        return _form("towns")
    search = raw.get("search", [])
    if search and (not _are_unique_texts(search) or set(search) - set(SEARCH_KINDS)):
        return _form("search")
    allow = raw.get("allow", {})
    if set(allow) - set(CLASSES_TO_ALLOW) or not all(map(_is_text, allow.values())):
        return _form("allow")
    return None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value.strip()) and len(value) <= _TEXT_LENGTH


def _are_unique_texts(values: list[Any]) -> bool:
    return all(isinstance(each, str) for each in values) and len(set(values)) == len(values)


def _is_municipality(code: str) -> bool:
    try:
        MunicipalityCode(code)
    except InvalidValue:
        return False
    return True


def _wrong_columns(raw: Mapping[str, Any]) -> Refusal | None:
    files = load_interface().files
    for file_id, names in raw["columns"].items():
        if file_id not in files or file_id in _NOT_KEPT:
            return Refusal("SUBSCRIPTION_PROFILE_INVALID", {"field": "columns"})
        if not isinstance(names, list) or not names or not _are_unique_texts(names):
            return _form(f"columns.{file_id}")
        if set(names) - set(files[file_id].names):
            return Refusal("SUBSCRIPTION_PROFILE_INVALID", {"file": file_id})
    return None


def _class_not_allowed(raw: Mapping[str, Any]) -> Refusal | None:
    allowed = raw.get("allow", {})
    files = load_interface().files
    for file_id, names in raw["columns"].items():
        people = sorted(_PEOPLE_AT_PLACES.get(file_id, set()) & set(names))
        if people and PROTECTED_PLACES not in allowed:
            return Refusal(
                "SUBSCRIPTION_CLASS_NOT_ALLOWED",
                {"file": file_id, "column": people[0], "class": PROTECTED_PLACES},
            )
        for column in files[file_id].columns:
            asked = column.name in names and column.sensitivity in CLASSES_TO_ALLOW
            if asked and column.sensitivity not in allowed:
                return Refusal(
                    "SUBSCRIPTION_CLASS_NOT_ALLOWED",
                    {"file": file_id, "column": column.name, "class": column.sensitivity},
                )
    return None


def _in_order(columns: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    files = load_interface().files
    return {
        file_id: tuple(name for name in files[file_id].names if name in columns[file_id])
        for file_id in sorted(columns)
    }
