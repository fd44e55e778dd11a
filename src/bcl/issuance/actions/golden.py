"""Golden papers: the same household's certificate, made again where the data was restored (R-034).

A paper is a pure function of one snapshot, so the same rows give the same bytes on the source and
on a restored copy. The paper exists in memory only; nothing is issued and nothing leaves but its
digest.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from bcl.foundation import tenancy
from bcl.issuance import queries, settings
from bcl.issuance.actions.judge import Judged
from bcl.issuance.actions.make_paper import make_paper
from bcl.issuance.documents.font import DEFAULT_FONT_PATH
from bcl.issuance.kinds import all_kinds
from bcl.issuance.records import CopyOptions, Edition, Records, Scope
from bcl.issuance.rules import Approve
from bcl_contract.refusals import Refusal

_NUMBER = "DRILL-0000-0000"
_PAPERS = 2
_CANDIDATES = 20
_KIND = "RESIDENT_RECORD_COPY"


def make_golden_papers(
    municipality_code: str, *, rows: Iterable[str] | None, at: datetime
) -> dict[str, tuple[int, str]]:
    """Papers of a few households: {row they start from: (version of the data, SHA-256 of the PDF)}.

    Without `rows` the first households that print are taken. Empty where the town does not issue
    (no seal, no font). A row that gives no paper any more is left out.
    """
    made: dict[str, tuple[int, str]] = {}
    font = settings.font_path() or DEFAULT_FONT_PATH
    with tenancy.scope(municipality_code):
        town = settings.town_settings(municipality_code, at)
        certifier = queries.find_certifier(municipality_code, town, at.date())
        definition = all_kinds().current(_KIND, at.date())
        if certifier is None or definition is None or not font.is_file():
            return made
        chosen = rows if rows is not None else queries.first_residents(
            municipality_code, _CANDIDATES
        )
        for row in chosen:
            household = queries.household_of_row(municipality_code, int(row))
            if household is None or not household.members:
                continue
            approval = Approve(
                household.members[0].addressee_number,
                Records(household),
                CopyOptions(Scope.HOUSEHOLD, shown=frozenset({"relationship"})),
                definition,
            )
            paper = make_paper(
                Judged(approval, certifier, town, at, at),
                Edition(_NUMBER, at.date()),
                layout_version=definition.version,
            )
            if not isinstance(paper, Refusal):
                made[str(row)] = (household.version, paper.sha256)
            if rows is None and len(made) == _PAPERS:
                break
    return made
