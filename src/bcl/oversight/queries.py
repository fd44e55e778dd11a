"""Reads of oversight. Every function opens the municipality's scope itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from bcl.foundation import crypto, tenancy
from bcl.municipalities import api as municipalities
from bcl.oversight import rules
from bcl.oversight.models import AuditVerification, DataExport, LookStatement
from bcl.oversight.rules import ExportState, StatementState

EXPORT_TABLE, STATEMENT_TABLE = "oversight_dataexport", "oversight_lookstatement"
_MARK = re.compile(r"([A-Z2-7]{16})(?:-[0-9]{6,})?\Z")


@dataclass(frozen=True)
class Waiting:
    """What of a town waits for a second person, or for whoever is to take it."""

    exports_to_approve: int
    exports_to_take: int
    statements_to_approve: int


def count_waiting(municipality_code: str, permissions: frozenset[str]) -> Waiting:
    """For the home page of somebody with these permissions: only what they can take counts."""
    kinds = [kind for kind, needed in rules.NEEDED_PERMISSION.items() if needed in permissions]
    with tenancy.scope(municipality_code):
        exports = DataExport.objects
        return Waiting(
            exports.filter(state=ExportState.REQUESTED).count(),
            exports.filter(state=ExportState.BUILT, takes=0, kind__in=kinds).count(),
            LookStatement.objects.filter(state=StatementState.REQUESTED).count(),
        )


def find_export(municipality_code: str, export_id: int) -> DataExport | None:
    """One export of a municipality, or None."""
    with tenancy.scope(municipality_code):
        return DataExport.objects.filter(pk=export_id).first()


def list_exports(municipality_code: str, *, newest: int = 100) -> list[DataExport]:
    """The newest exports, newest first."""
    with tenancy.scope(municipality_code):
        return list(DataExport.objects.order_by("-pk")[:newest])


def trace_canary(municipality_code: str, mark: str) -> DataExport | None:
    """The export a row of a found file comes from, by the mark in it."""
    found = _MARK.match(mark.strip().upper())
    if found is None:
        return None
    with tenancy.scope(municipality_code):
        return DataExport.objects.filter(canary=found.group(1)).first()


def find_statement(municipality_code: str, statement_id: int) -> LookStatement | None:
    """One statement of a municipality, or None."""
    with tenancy.scope(municipality_code):
        return LookStatement.objects.filter(pk=statement_id).first()


def list_statements(municipality_code: str, *, newest: int = 100) -> list[LookStatement]:
    """The newest statements, newest first."""
    with tenancy.scope(municipality_code):
        return list(LookStatement.objects.order_by("-pk")[:newest])


def latest_verification(municipality_code: str) -> AuditVerification | None:
    """The newest check of the log, whatever its state."""
    with tenancy.scope(municipality_code):
        return AuditVerification.objects.order_by("-pk").first()


def agency_may_read(municipality_code: str, at: datetime) -> bool:
    """Whether this town lets the agency's auditor read its audit log now."""
    value = municipalities.setting_at(municipality_code, rules.AGENCY_VIEW_SETTING, at)
    return bool(value == rules.AGENCY_VIEW_ALL)


def person_of(statement: LookStatement) -> str:
    """The addressee number a statement is about; empty when retention has emptied it."""
    return crypto.open_cell(
        statement.municipality_code,
        STATEMENT_TABLE,
        "sealed_person",
        statement.token,
        bytes(statement.sealed_person),
    ).decode()
