"""Journey: issue a certificate. Step numbers as in docs/journeys/issue-a-certificate.md."""

from __future__ import annotations

import hashlib
import ssl
import subprocess

import httpx
import pytest

from bcl_cli.world.line import Line
from bcl_contract.delivery_center import ISSUE_PATH, Scope
from bcl_contract.refusals import Refusal
from bcl_sim.kiosk import Choice


def text_of(pdf: bytes) -> str:
    """What another extractor than ours reads."""
    read = subprocess.run(
        ["pdftotext", "-layout", "-", "-"], input=pdf, capture_output=True, check=True
    )
    return read.stdout.decode("utf-8")


def transaction(line: Line, number: str) -> object:
    from bcl.foundation import tenancy
    from bcl.issuance.models import IssuanceTransaction

    with tenancy.scope(line.code):
        return IssuanceTransaction.objects.get(transaction_number=number)


@pytest.mark.requirement("R-044", "R-045", "R-048", "R-080", "R-267")
def test_issue__a_familys_copy__names_exactly_the_family(landed: Line) -> None:
    landed.wait_fed()
    addressee = landed.case("family_of_five")
    latest = [r for r in landed.town.truth()["J01"] if r["latest"] == "1"]
    own = next(r for r in latest if r["addressee_number"] == addressee)
    living = [r for r in latest if r["resident_state"] == "1"]
    family = {r["full_name"] for r in living if r["household_number"] == own["household_number"]}
    strangers = {r["full_name"] for r in living} - family

    # step 1: without a certificate of its own nobody gets as far as a form
    context = ssl.create_default_context(cafile=str(landed.world.pki.bcl_ca.cert_path))
    with pytest.raises(httpx.TransportError):
        httpx.post(landed.world.wire_url + ISSUE_PATH, content=b"{}", verify=context)

    # step 2 to # step 12 happen inside this visit: on record first (# step 2), hours (# step 3),
    # card (# step 4), one snapshot (# step 5), decision (# step 6), page (# step 7), lints
    # (# step 8), paper and read-back (# step 9), stored digest (# step 10), the guard's look
    # (# step 11), answer (# step 12)
    paper = landed.visit_kiosk(addressee, Choice(show=("head", "domicile")))
    assert not isinstance(paper, Refusal), paper
    pdf = paper.pdf_path.read_bytes()
    text = text_of(pdf).replace(" ", "").replace("\n", "")
    assert len(family) == 5
    for name in family:
        assert name.replace("　", "") in text.replace("　", "")
    assert not [
        n for n in strangers if len(n) > 3 and n.replace("　", "") in text.replace("　", "")
    ]
    assert paper.document_number.replace("-", "") in text.replace("-", "")

    stored = transaction(landed, paper.transaction_number)
    assert stored.state == "DELIVERED"
    assert stored.pdf_sha256 == hashlib.sha256(pdf).hexdigest()
    assert [hop.place for hop in paper.hops].count("kiosk") == 2
    assert len(paper.hops) == 6


@pytest.mark.requirement("R-074", "R-075", "R-266")
@pytest.mark.parametrize(
    "case_id", ["measure_in_one_household", "change_pending_household", "block_person"]
)
def test_issue__protected_and_ordinary_refusals__look_the_same(landed: Line, case_id: str) -> None:
    paper = landed.visit_kiosk(landed.case(case_id), Choice())
    assert isinstance(paper, Refusal)
    assert paper.code == "CENTER_VISIT_COUNTER"
    assert list(landed.world.places.prints.glob(f"*{case_id}*")) == []


@pytest.mark.requirement("R-045", "R-046", "R-047")
def test_issue__card_revoked_at_the_authority__is_refused(landed: Line) -> None:
    from bcl_contract import clock
    from bcl_sim.jpki.authority import State
    from bcl_sim.jpki.card_list import find_listed_card

    addressee = landed.case("same_name_same_birthday")
    landed.card_of(addressee)
    listed = find_listed_card(landed.town.state / "cards.jsonl", addressee_number=addressee)
    landed.world.authority.set_state(
        int(listed.serial_number, 16), State.REVOKED, clock.now(), reason="keyCompromise"
    )
    paper = landed.visit_kiosk(addressee, Choice())
    assert isinstance(paper, Refusal)
    assert paper.code == "USER_AUTH_CERT_REVOKED"


@pytest.mark.requirement("R-078")
@pytest.mark.parametrize("case_id", ["name_of_100_characters", "household_of_twelve"])
def test_issue__long_names_and_large_households__are_whole_or_refused(
    landed: Line, case_id: str
) -> None:
    addressee = landed.case(case_id)
    latest = [r for r in landed.town.truth()["J01"] if r["latest"] == "1"]
    own = next(r for r in latest if r["addressee_number"] == addressee)
    paper = landed.visit_kiosk(addressee, Choice(scope=Scope.ALL))
    if isinstance(paper, Refusal):
        assert paper.code == "CENTER_VISIT_COUNTER"
        return
    text = "".join(text_of(paper.pdf_path.read_bytes()).split())
    assert "".join(own["full_name"].split()) in text
