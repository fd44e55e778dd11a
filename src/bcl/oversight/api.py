"""Oversight: the record of who did what, statements for residents, data taken out.

    from bcl.oversight import api as oversight
    oversight.request_export(principal, oversight.Wish(...), at=now)      # DataExport | Refusal
    oversight.count_waiting("999997", principal.permissions)              # for the home page

Every act opens the municipality's scope itself and writes its audit row in its transaction.
"""

from __future__ import annotations

from bcl.oversight.actions.delete_exports import expire_exports
from bcl.oversight.actions.exports import (
    Wish,
    approve_export,
    build_export,
    decline_export,
    request_export,
    take_export,
)
from bcl.oversight.actions.look_statements import (
    Statement,
    approve_statement,
    make_statement,
    print_statement,
    request_statement,
)
from bcl.oversight.actions.verifications import request_verification, run_verification
from bcl.oversight.csv_cells import original_cell, safe_cell
from bcl.oversight.queries import (
    Waiting,
    agency_may_read,
    count_waiting,
    find_export,
    find_statement,
    latest_verification,
    list_exports,
    list_statements,
    trace_canary,
)
from bcl.oversight.rules import ExportKind, ExportState, StatementState

__all__ = [
    "ExportKind",
    "ExportState",
    "Statement",
    "StatementState",
    "Waiting",
    "Wish",
    "agency_may_read",
    "approve_export",
    "approve_statement",
    "build_export",
    "count_waiting",
    "decline_export",
    "expire_exports",
    "find_export",
    "find_statement",
    "latest_verification",
    "list_exports",
    "list_statements",
    "make_statement",
    "original_cell",
    "print_statement",
    "request_export",
    "request_statement",
    "request_verification",
    "run_verification",
    "safe_cell",
    "take_export",
    "trace_canary",
]
