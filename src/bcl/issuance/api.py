"""Issuing certificates for kiosks (証明発行).

    from bcl.issuance import api as issuance
    issuance.refresh_issuable_records("999997")
    answer = issuance.issue_certificate(request=request, by=center, at=clock.now())

Owns: issuance transactions, issuance blocks, issuable records, page layouts, official seals.
Promises: nothing leaves without a stored transaction that says what left.
Journey: docs/journeys/issue-a-certificate.md (step numbers stand in the code as "step n").
Never: reads a resident's data from anywhere but IssuableRecord.
"""

from bcl.issuance.actions.compare import Comparison, Difference, compare_with_store
from bcl.issuance.actions.confirm import confirm_delivery
from bcl.issuance.actions.golden import make_golden_papers
from bcl.issuance.actions.inquire import Offer, Offered, inquire
from bcl.issuance.actions.issue import Issued, issue_certificate
from bcl.issuance.actions.profile import (
    ProjectionProgress,
    disable_certificates,
    enable_certificates,
    find_projection_progress,
)
from bcl.issuance.actions.reconcile import DayDifference, reconcile_day
from bcl.issuance.actions.refresh import (
    Refreshed,
    rebuild_issuable_records,
    refresh_issuable_records,
)
from bcl.issuance.actions.send import Sent, send_paper
from bcl.issuance.actions.set_up import lift_block, place_block, register_official_seal
from bcl.issuance.actions.states import close_overdue, forget_old_messages
from bcl.issuance.documents.demo_seal import draw_demo_seal
from bcl.issuance.documents.font import (
    DEFAULT_FONT_PATH,
    FontNotInstalledError,
    load_typeface,
)
from bcl.issuance.queries import (
    PlacedBlock,
    count_transactions,
    find_freshness,
    list_blocks,
    tax_years,
)
from bcl.issuance.rules import BlockScope, Freshness

__all__ = [
    "DEFAULT_FONT_PATH",
    "BlockScope",
    "Comparison",
    "DayDifference",
    "Difference",
    "FontNotInstalledError",
    "Freshness",
    "Issued",
    "Offer",
    "Offered",
    "PlacedBlock",
    "ProjectionProgress",
    "Refreshed",
    "Sent",
    "close_overdue",
    "compare_with_store",
    "confirm_delivery",
    "count_transactions",
    "disable_certificates",
    "draw_demo_seal",
    "enable_certificates",
    "find_freshness",
    "find_projection_progress",
    "forget_old_messages",
    "inquire",
    "issue_certificate",
    "lift_block",
    "list_blocks",
    "load_typeface",
    "make_golden_papers",
    "place_block",
    "rebuild_issuable_records",
    "reconcile_day",
    "refresh_issuable_records",
    "register_official_seal",
    "send_paper",
    "tax_years",
]
