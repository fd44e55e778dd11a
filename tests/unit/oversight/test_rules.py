"""Who may ask for what, and when a file may leave: every rule by itself."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import product

import pytest

from bcl.accounts.rules import Role, permissions_of
from bcl.oversight import rules
from bcl.oversight.rules import ExportKind, ExportState

pytestmark = pytest.mark.requirement("R-175")
DAY, NOW = date(2026, 11, 24), datetime(2026, 11, 24, tzinfo=UTC)
ASKED = {
    "purpose": "AUDIT", "reference": "R8-1", "columns": ("entry",), "row_limit": 10,
    "permissions": frozenset({"audit.view"}), "day": DAY,
}  # fmt: skip


def code(refusal) -> str | None:
    return None if refusal is None else refusal.code


@pytest.mark.parametrize(("changed", "expected"), [
    ({}, None),
    ({"permissions": frozenset({"residents.view"})}, "ACCOUNT_PERMISSION_MISSING"),
    ({"purpose": ""}, "DATA_EXPORT_PURPOSE_MISSING"),
    ({"purpose": "FUN"}, "DATA_EXPORT_PURPOSE_MISSING"),
    ({"reference": ""}, "DATA_EXPORT_PURPOSE_MISSING"),
    ({"reference": "1" * 12}, "DATA_EXPORT_PURPOSE_MISSING"),
    ({"columns": ()}, "DATA_EXPORT_COLUMNS"),
    ({"columns": ("entry", "individual_number")}, "DATA_EXPORT_COLUMNS"),
    ({"row_limit": 0}, "DATA_EXPORT_LIMIT"),
    ({"row_limit": 100_001}, "DATA_EXPORT_LIMIT"),
])  # fmt: skip
def test_request__without_what_it_needs__is_refused(changed, expected) -> None:
    assert code(rules.judge_export(ExportKind.AUDIT, **ASKED | changed)) == expected


@pytest.mark.parametrize(("found", "expected"), [
    (0, "DATA_EXPORT_EMPTY"), (1, None), (10, None), (11, "DATA_EXPORT_TOO_MANY"),
])  # fmt: skip
def test_rows__beyond_the_limit__are_refused_whole(found, expected) -> None:
    assert code(rules.judge_rows(found, 10)) == expected


@pytest.mark.parametrize(
    ("waiting", "same_person", "same_request"), list(product([True, False], repeat=3))
)
def test_approval__counts_only_by_another_person_on_the_same_request(
    waiting, same_person, same_request
) -> None:
    refusal = rules.judge_approval(
        is_waiting=waiting, requested_by="a", approved_by="a" if same_person else "b",
        same_request=same_request,
    )  # fmt: skip
    assert (refusal is None) is (waiting and not same_person and same_request)


@pytest.mark.parametrize(("state", "takes", "hours", "permissions", "expected"), [
    ("BUILT", 0, 1, {"audit.view"}, None),
    ("BUILT", 2, 1, {"audit.view"}, None),
    ("BUILT", 3, 1, {"audit.view"}, "DATA_EXPORT_TAKEN_OUT"),
    ("BUILT", 0, 0, {"audit.view"}, "DATA_EXPORT_EXPIRED"),
    ("EXPIRED", 0, 1, {"audit.view"}, "DATA_EXPORT_EXPIRED"),
    ("APPROVED", 0, 1, {"audit.view"}, "DATA_EXPORT_NOT_BUILT"),
    ("BUILT", 0, 1, {"residents.view"}, "ACCOUNT_PERMISSION_MISSING"),
])  # fmt: skip
def test_take__within_state_number_and_time(state, takes, hours, permissions, expected) -> None:
    refusal = rules.judge_take(
        ExportState(state), needed="audit.view", permissions=frozenset(permissions), takes=takes,
        take_limit=3, expires_at=NOW + timedelta(hours=hours), at=NOW,
    )  # fmt: skip
    assert code(refusal) == expected


def test_no_role__asks_and_agrees() -> None:
    for role in Role:
        held = permissions_of([role])
        assert not {"exports.request", "exports.approve"} <= held, role
        assert not {"statements.request", "statements.approve"} <= held, role


def test_columns__of_residents__hold_no_number_beyond_the_register() -> None:
    names = set(rules.columns_of(ExportKind.RESIDENTS))
    assert not names & {"individual_number", "resident_record_code", "registered_domicile"}
