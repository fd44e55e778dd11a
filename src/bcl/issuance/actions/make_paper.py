"""Making one paper: compose, lint, render, read back (steps 7 to 9 of the journey).

A pure function of an approval: no database, no clock, no file. Every check that fails stops it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from bcl.issuance.actions.judge import Judged
from bcl.issuance.documents.compose import compose
from bcl.issuance.documents.fit import place
from bcl.issuance.documents.font import DEFAULT_FONT_PATH, load_typeface
from bcl.issuance.documents.lints import Expected, lint
from bcl.issuance.documents.read_back import compare
from bcl.issuance.documents.typst_renderer import render
from bcl.issuance.kinds import definition_of
from bcl.issuance.records import Edition
from bcl.issuance.settings import font_path
from bcl_contract.refusals import Refusal


@dataclass(frozen=True, slots=True)
class Paper:
    """A finished certificate in memory."""

    pdf: bytes = field(repr=False)
    sha256: str
    pages: int
    layout_version: str


def make_paper(judged: Judged, edition: Edition, *, layout_version: str) -> Paper | Refusal:
    """Make the certificate of an approval, by the version of its kind's definition.

    Refuses with ISSUE_GLYPH_MISSING, ISSUE_LAYOUT_OVERFLOW, ISSUE_RECORD_INCOMPLETE and, when a
    check of ours fails, ISSUE_DOCUMENT_CHECK_FAILED (detail: which one; never a value).
    """
    approval, definition = judged.approval, definition_of(layout_version)
    # Step 7: compose. The model holds no bytes yet, only texts in their boxes.
    model = compose(
        approval.records,
        approval.applicant,
        options=approval.options,
        definition=definition,
        marks=judged.town.marks,
        certifier=judged.certifier,
        edition=edition,
    )
    if isinstance(model, Refusal):
        return model
    typeface = load_typeface(font_path() or DEFAULT_FONT_PATH)
    placed = place(model, typeface)
    if isinstance(placed, Refusal):
        return placed
    # Step 8: the lints judge the page against the record and the wish, from their own tables.
    expected = Expected(
        approval.records,
        approval.applicant,
        approval.options,
        definition,
        judged.town.marks,
        judged.certifier,
        edition,
    )
    findings = lint(placed, expected, typeface)
    if findings:
        return Refusal(
            "ISSUE_DOCUMENT_CHECK_FAILED", {"check": findings[0].lint, "field": findings[0].field}
        )
    # Step 9: draw it, and read the drawing back with another library.
    pdf = render(placed, font_path() or DEFAULT_FONT_PATH)
    difference = compare(pdf, placed, typeface)
    if difference is not None:
        return Refusal(
            "ISSUE_DOCUMENT_CHECK_FAILED",
            {"check": f"read_back_{difference.reason}", "field": difference.field},
        )
    return Paper(pdf, hashlib.sha256(pdf).hexdigest(), len(placed.pages), definition.version)
