"""Decisions about staff: what a role may do, how long a session lives, when to slow down.

Pure: no clock, no database. Figures are dated data (`data/limits.csv`), rights are a table
(`data/permissions.csv`).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import cache
from importlib import resources

from bcl_contract.refusals import Refusal

# The agency (機構) is a tenant of its own: no municipality has this code.
AGENCY_CODE = "000000"


class Role(StrEnum):
    """Roles, each of a municipality's staff or of the agency's (R-060, R-174)."""

    TOWN_CLERK = "TOWN_CLERK"
    TOWN_APPROVER = "TOWN_APPROVER"
    TOWN_ADMIN = "TOWN_ADMIN"
    TOWN_AUDITOR = "TOWN_AUDITOR"
    AGENCY_OPERATOR = "AGENCY_OPERATOR"
    AGENCY_ADMIN = "AGENCY_ADMIN"
    AGENCY_AUDITOR = "AGENCY_AUDITOR"


ROLE_NAMES_JA: Mapping[Role, str] = {
    Role.TOWN_CLERK: "担当者",
    Role.TOWN_APPROVER: "承認者",
    Role.TOWN_ADMIN: "団体管理者",
    Role.TOWN_AUDITOR: "監査担当",
    Role.AGENCY_OPERATOR: "機構 運用者",
    Role.AGENCY_ADMIN: "機構 管理者",
    Role.AGENCY_AUDITOR: "機構 監査担当",
}


class TerminalClass(StrEnum):
    """What network a terminal stands in (R-169)."""

    LGWAN = "LGWAN"
    INDIVIDUAL_NUMBER = "INDIVIDUAL_NUMBER"


@dataclass(frozen=True)
class Limits:
    """The figures in force on a day."""

    idle_minutes: int
    absolute_hours: int
    password_minimum_length: int
    pair_failures: int
    terminal_failures: int
    failure_window_minutes: int
    code_failures_a_day: int
    enrolment_hours: int
    dormant_days: int
    review_days: int
    privilege_minutes: int
    privilege_wait_hours: int
    sessions_at_once: int
    passkeys_each: int
    look_window_minutes: int
    look_persons: int

    @property
    def failure_window(self) -> timedelta:
        return timedelta(minutes=self.failure_window_minutes)


    @property
    def look_window(self) -> timedelta:
        return timedelta(minutes=self.look_window_minutes)


@cache
def _permission_table() -> Mapping[Role, frozenset[str]]:
    rows = list(csv.DictReader(_data("permissions.csv")))
    return {
        role: frozenset(row["permission"] for row in rows if row["role"] == role) for role in Role
    }


@cache
def _special_permissions() -> Mapping[str, tuple[str, bool]]:
    """Permission -> terminal class it needs ("" = any), whether it needs privileges (特権ID)."""
    rows = csv.DictReader(_data("special_permissions.csv"))
    return {
        row["permission"]: (row["terminal_class"], row["privileged"] == "yes") for row in rows
    }


@cache
def _limit_rows() -> list[dict[str, str]]:
    return list(csv.DictReader(_data("limits.csv")))


def _data(name: str) -> list[str]:
    path = resources.files("bcl.accounts") / "data" / name
    return path.read_text(encoding="utf-8").splitlines()


def limits_on(day: date) -> Limits:
    """The figures in force on `day`: for each name the newest row not after it."""
    chosen: dict[str, tuple[str, int]] = {}
    for row in _limit_rows():
        begins = row["effective_from"]
        newest = chosen.get(row["name"], ("", 0))[0]
        if newest <= begins <= day.isoformat():
            chosen[row["name"]] = begins, int(row["value"])
    return Limits(**{name: value for name, (_, value) in chosen.items()})


def permissions_of(roles: Iterable[Role]) -> frozenset[str]:
    """Everything that a person with these roles may do."""
    table = _permission_table()
    return frozenset().union(*(table[role] for role in roles))


def why_not_here(
    permission: str, *, terminal_class: TerminalClass, is_privileged: bool
) -> Refusal | None:
    """Why a permission that a role gives doesn't count at this terminal, at this moment."""
    needed_class, needs_privilege = _special_permissions().get(permission, ("", False))
    if needed_class not in ("", terminal_class):
        return Refusal("TERMINAL_CLASS_WRONG", {"terminal_class": needed_class})
    if needs_privilege and not is_privileged:
        return Refusal("PRIVILEGE_MISSING", {"permission": permission})
    return None


def permissions_here(
    roles: Iterable[Role], *, terminal_class: TerminalClass, is_privileged: bool
) -> frozenset[str]:
    """What these roles may do at a terminal of this class, with or without privileges."""
    return frozenset(
        permission
        for permission in permissions_of(roles)
        if why_not_here(permission, terminal_class=terminal_class, is_privileged=is_privileged)
        is None
    )


def belongs_to(role: Role, municipality_code: str) -> bool:
    """Whether staff of this tenant can hold the role at all."""
    return role.startswith("AGENCY_") == (municipality_code == AGENCY_CODE)


def may_grant(
    role: Role, *, municipality_code: str, granter_roles: Iterable[Role]
) -> Refusal | None:
    """Whether somebody with `granter_roles` may give this role within this tenant (R-060).

    An administrator gives every role of the own tenant and none of another kind: a municipality's
    administrator can't make agency staff. Nobody without `accounts.manage` gives any.
    """
    if "accounts.manage" not in permissions_of(granter_roles):
        return Refusal("ACCOUNT_PERMISSION_MISSING", {"permission": "accounts.manage"})
    if not belongs_to(role, municipality_code):
        return Refusal("ACCOUNT_ROLE_NOT_YOURS", {"role": role.value})
    return None


@dataclass(frozen=True)
class Failures:
    """Failed sign-ins inside the window: of this account at this terminal, of this terminal."""

    of_pair: int
    of_terminal: int


def judge_throttle(failures: Failures, limits: Limits) -> Refusal | None:
    """Whether the next attempt has to wait. Only the terminal at fault waits, so that nobody can
    lock colleagues out who sit elsewhere (C8)."""
    if failures.of_pair >= limits.pair_failures or failures.of_terminal >= limits.terminal_failures:
        return Refusal("SIGN_IN_TOO_MANY", {"minutes": limits.failure_window_minutes})
    return None


@dataclass(frozen=True)
class SessionTimes:
    """When a session began and when it was last used."""

    began_at: datetime
    last_seen_at: datetime


def judge_session(times: SessionTimes, at: datetime, limits: Limits) -> Refusal | None:
    """Whether a session has run out: left alone too long, or too old."""
    if at - times.last_seen_at >= timedelta(minutes=limits.idle_minutes):
        return Refusal("SESSION_IDLE", {"minutes": limits.idle_minutes})
    if at - times.began_at >= timedelta(hours=limits.absolute_hours):
        return Refusal("SESSION_TOO_OLD", {"hours": limits.absolute_hours})
    return None


def looks_too_many(began_at: datetime, persons: int, at: datetime, limits: Limits) -> bool:
    """Whether somebody who was shown `persons` residents since `began_at` has to wait now."""
    return at - began_at < limits.look_window and persons >= limits.look_persons


def judge_password(password: str, *, login_name: str, limits: Limits) -> Refusal | None:
    """Length and closeness to the login name; common passwords are the caller's list."""
    if len(password) < limits.password_minimum_length:
        return Refusal("PASSWORD_TOO_SHORT", {"characters": limits.password_minimum_length})
    if len(password) > 4096:
        return Refusal("PASSWORD_TOO_LONG")
    if login_name.lower() in password.lower() or len(set(password)) < 5:
        return Refusal("PASSWORD_TOO_SIMPLE")
    return None


def is_dormant(last_sign_in_at: datetime | None, created_at: datetime, at: datetime) -> bool:
    """Whether an account has not been used for too long (R-060)."""
    days = limits_on(at.date()).dormant_days
    return at - (last_sign_in_at or created_at) >= timedelta(days=days)
