"""Seals and taxes from the feed to the paper; every kind against every state of a person."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

import pytest

from bcl.foundation import tenancy
from bcl.foundation.audit import SYSTEM, Actor
from bcl.issuance import api, projection
from bcl.issuance.models import IssuableRecord
from bcl_contract.clock import JST, Clock, use
from bcl_contract.delivery_center import Scope, new_number
from bcl_contract.refusals import Refusal
from bcl_sim.core_system.seal_image import draw_seal, pixels

CENTER = Actor("center", "c1")
KINDS = ("RESIDENT_RECORD_COPY", "SEAL_REGISTRATION", "TAX", "TAX_EXEMPTION", "TAX_PAYMENT")
EDGE = pixels(15.0)
NUMBER = "0000000011"


def seal_rows(world, addressee: str, **columns: str) -> list[tuple[str, str, dict[str, str]]]:
    """S01 and S02 of one registration; the picture lies in the store."""
    number = columns.get("seal_registration_number", NUMBER)
    png = draw_seal(number, 1, EDGE)
    world.store.images[hashlib.sha256(png).hexdigest()] = png
    seal = {
        "seal_registration_number": number,
        "latest": "1",
        "addressee_number": addressee,
        "seal_status": "1",
        "registered_name_kind": "1",
        "registered_name": world.store.rows["J01", f"J01-{addressee}"][1]["full_name"],
        "seal_image_number": "1",
        "deleted": "0",
    }
    image = {
        "seal_registration_number": number,
        "seal_image_number": "1",
        "image_dots_per_inch": "400",
        "image_width_pixels": str(EDGE),
        "image_height_pixels": str(EDGE),
        "image_sha256": hashlib.sha256(png).hexdigest(),
        "deleted": "0",
    }
    return [("S01", f"S01-{number}", seal | columns), ("S02", f"S02-{number}", image)]


def tax_rows(
    addressee: str, *, kind: str = "1", year: int = 2026, payer=None, assessed=None, payments=True
):
    """T01 to T07 of one person and year."""
    key = {"addressee_number": addressee, "tax_year": str(year), "latest": "1", "deleted": "0"}
    total = "0" if kind == "3" else "5000"
    lists = {
        "T03": [("income_code", "101", "1200000"), ("income_code", "192", "550000")],
        "T04": [("deduction_code", "290", "430000")],
        "T05": [("tax_amount_code", "399", total)],
    }
    rows = [
        ("T01", key | {
            "unreported_kind": "0", "taxed_elsewhere_kind": "0", "certifiable": "1",
            "assessment_date_full_name": "甲野", "assessment_date_address": "架空県見本市",
            "certifiable_from_on": f"{year}-06-01",
        } | (payer or {})),
        ("T02", key | {
            "taxation_kind": kind, "annual_tax_amount": total, "revision_in_progress": "0",
        } | (assessed or {})),
        ("T06", key | {"dependents_under_16": "1"}),
        *(
            (file_id, key | {name: code, "amount": amount})
            for file_id, entries in lists.items()
            for name, code, amount in entries
        ),
    ]  # fmt: skip
    if payments:
        rows.append(("T07", {
            "addressee_number": addressee, "tax_kind": "1", "tax_year": str(year),
            "collection_kind": "1", "term_number": "1", "due_on": "2026-06-30",
            "levied_amount": "5000", "paid_amount": "5000", "unpaid_amount": "0", "deleted": "0",
        }))  # fmt: skip
    return [(f, f"{f}-{addressee}-{year}-{n}", row) for n, (f, row) in enumerate(rows)]


@pytest.fixture
def everything(world, set_town):
    """A resident who could have every kind, in a town that offers them all."""
    set_town(kinds=list(KINDS))
    card = world.resident("1", full_name="甲野　一")
    world.load(*seal_rows(world, "1"), *tax_rows("1"))
    return card


def ask(world, card, kind: str, **fields):
    """Ask for one copy of a kind for the holder alone."""
    year = 2026 if kind.startswith("TAX") else None
    return world.issue(
        card, **{"certificate_kind": kind, "scope": Scope.SELF, "show": (), "tax_year": year}
        | fields,
    )  # fmt: skip


@pytest.mark.requirement("R-067")
@pytest.mark.requirement("R-068")
@pytest.mark.requirement("R-028")
@pytest.mark.parametrize("kind", KINDS)
def test_issue__each_kind__comes_out_with_its_own_title(world, everything, text_of, kind):
    if kind == "TAX_EXEMPTION":
        world.load(*tax_rows("1", kind="3"))
    number = new_number(world.store.applied_at)
    issued = ask(world, everything, kind, number=number)
    assert isinstance(issued, api.Issued), (issued, world.inner_code(number))
    titles = ("住民票", "印鑑登録証明書", "所得・課税証明書", "非課税証明書", "納税証明書")
    text = text_of(issued.pdf).replace(" ", "").replace("\n", "")
    assert titles[KINDS.index(kind)] in text and "甲野" in text
    assert world.transaction(number).layout_version.startswith(kind.lower()[:4])


@pytest.mark.requirement("R-028")
def test_projection__of_seals_and_taxes__holds_only_what_is_needed(world, everything):
    with tenancy.scope(world.code):
        for record in IssuableRecord.objects.filter(file_id__in=["S01", "S02", "T01", "T03"]):
            content = projection.open_row(
                world.code,
                record.file_id,
                bytes(record.record_key),
                record.load_number,
                bytes(record.content),
            )
            assert not content.keys() & {
                "operator_id", "collection_kind", "taxed_elsewhere_municipality_code",
                "image_file_name", "ward_code",
            }  # fmt: skip


_SEAL_SLIPS = {
    "abolished": ({"seal_status": "2"}, "ISSUE_SEAL_CANCELLED"),
    "erased": ({"seal_status": "3", "seal_end_reason": "06"}, "ISSUE_SEAL_CANCELLED"),
    "suspended": ({"seal_status": "4"}, "ISSUE_SEAL_SUSPENDED"),
    "replaced": ({"seal_status": "5"}, "ISSUE_SEAL_CANCELLED"),
    "unknown": ({"seal_status": "9"}, "ISSUE_SEAL_CANCELLED"),
    "another_name": ({"registered_name": "乙川　一"}, "ISSUE_SEAL_NAME_DIFFERS"),
    "former_name_gone": (
        {"registered_name_kind": "2", "registered_name": "乙川", "former_surname": "乙川"},
        "ISSUE_SEAL_NAME_DIFFERS",
    ),
    "another_imprint": ({"seal_image_number": "2"}, "ISSUE_SEAL_IMAGE_WRONG"),
    "history_row": ({"latest": "0"}, "ISSUE_SEAL_NOT_REGISTERED"),
    "deleted_row": ({"deleted": "1"}, "ISSUE_SEAL_NOT_REGISTERED"),
}


@pytest.mark.requirement("R-067")
@pytest.mark.requirement("R-076")
@pytest.mark.parametrize("slip", _SEAL_SLIPS)
def test_seal__not_an_active_registration__is_refused(world, everything, slip):
    columns, code = _SEAL_SLIPS[slip]
    world.load(*seal_rows(world, "1", **columns))
    number = new_number(world.store.applied_at)
    answer = ask(world, everything, "SEAL_REGISTRATION", number=number)
    assert answer.code == "CENTER_CERTIFICATE_NOT_AVAILABLE"
    assert world.inner_code(number) == code


@pytest.mark.requirement("R-067")
@pytest.mark.parametrize("slip", ["missing", "altered", "two_pictures", "alpha", "two_seals"])
def test_seal__imprint_not_beyond_doubt__is_refused(world, everything, slip):
    digest = next(iter(world.store.images))
    if slip == "missing":
        world.store.images.clear()
    elif slip == "altered":
        # The real store raises when bytes and digest part; a lying one is caught by the lint.
        world.store.images[digest] = draw_seal("999", 1, EDGE)
    elif slip == "alpha":
        png = bytearray(world.store.images[digest])
        png[25] = 6
        world.store.images[digest] = bytes(png)
    elif slip == "two_pictures":
        image = world.store.rows["S02", f"S02-{NUMBER}"][1]
        world.load(("S02", "S02-again", image))
    else:
        world.load(*seal_rows(world, "1", seal_registration_number="0000000022"))
    answer = ask(world, everything, "SEAL_REGISTRATION")
    assert isinstance(answer, Refusal)
    other = ask(world, everything, "RESIDENT_RECORD_COPY")
    # A wrong picture that nearly left stops the town, like every paper that is somebody else's.
    assert isinstance(other, Refusal) is (slip == "altered")


@pytest.mark.requirement("R-067")
@pytest.mark.parametrize("scope", [Scope.ALL, Scope.PART])
@pytest.mark.parametrize("kind", KINDS[1:])
def test_own_certificates__for_others__are_refused(world, everything, kind, scope):
    first = world.store.rows["J01", "J01-1"][1]
    world.load(("J01", "J01-2", first | {"addressee_number": "2", "entry_order": "2"}))
    number = new_number(world.store.applied_at)
    offered = api.inquire(
        request=world.inquire_request(everything, number=number),
        by=CENTER,
        at=world.store.applied_at,
    )
    refs = (offered.members[0][0],) if scope is Scope.PART else ()
    answer = ask(world, everything, kind, number=number, scope=scope, member_refs=refs)
    assert answer.code == "CENTER_OPTION_NOT_OFFERED"


_TAX_SLIPS = {
    "not_reported": ({"unreported_kind": "1"}, {}, "ISSUE_TAX_UNREPORTED"),
    "kind_unreported": ({}, {"taxation_kind": "4"}, "ISSUE_TAX_UNREPORTED"),
    "taxed_elsewhere": ({"taxed_elsewhere_kind": "1"}, {}, "ISSUE_TAX_ELSEWHERE"),
    "being_revised": ({}, {"revision_in_progress": "1"}, "ISSUE_TAX_UNDER_REVISION"),
    "revision_unknown": ({}, {"revision_in_progress": ""}, "ISSUE_TAX_UNDER_REVISION"),
    "not_certifiable": ({"certifiable": "0"}, {}, "ISSUE_TAX_NOT_CERTIFIABLE"),
    "not_open_yet": ({"certifiable_from_on": "2026-11-23"}, {}, "ISSUE_TAX_NOT_OPEN"),
    "sums_differ": ({}, {"annual_tax_amount": "5001"}, "ISSUE_TAX_INCONSISTENT"),
}


@pytest.mark.requirement("R-068")
@pytest.mark.parametrize("slip", _TAX_SLIPS)
def test_tax__not_fit_to_be_certified__is_refused(world, everything, slip):
    payer, assessed, code = _TAX_SLIPS[slip]
    world.load(*tax_rows("1", payer=payer, assessed=assessed))
    number = new_number(world.store.applied_at)
    answer = ask(world, everything, "TAX", number=number)
    assert answer.code == "CENTER_CERTIFICATE_NOT_AVAILABLE"
    assert world.inner_code(number) == code


@pytest.mark.requirement("R-068")
def test_tax__exemption_and_payment__only_for_those_they_fit(world, everything):
    number = new_number(world.store.applied_at)
    ask(world, everything, "TAX_EXEMPTION", number=number)
    assert world.inner_code(number) == "ISSUE_TAX_NOT_EXEMPT"
    gone = [(f, k, None) for f, k, _ in tax_rows("1") if f == "T07"]
    world.load(*gone)
    number = new_number(world.store.applied_at)
    ask(world, everything, "TAX_PAYMENT", number=number)
    assert world.inner_code(number) == "ISSUE_TAX_NO_PAYMENTS"


@pytest.mark.requirement("R-068")
@pytest.mark.parametrize(
    ("day", "year", "granted"),
    [
        ("2026-11-22T22:59:59", 2025, True),
        ("2026-11-22T22:59:59", 2026, False),
        ("2026-11-23T06:30:00", 2026, True),
        ("2026-11-23T06:30:00", 2025, False),
        ("2026-11-23T06:30:00", 2027, False),
    ],
)
def test_tax__year__opens_on_the_town_s_day(world, everything, set_town, day, year, granted):
    at = datetime.fromisoformat(day).replace(tzinfo=JST)
    set_town(kinds=list(KINDS), tax_year_opens="11-23")
    world.load(*tax_rows("1", year=2025))
    world.store.applied_at = at - timedelta(hours=1)
    with use(Clock(fixed=at)):
        number = new_number(at)
        answer = ask(
            world, everything, "TAX", number=number, tax_year=year,
            deadline_at=at + timedelta(seconds=20), requested_at=at,
        )  # fmt: skip
    assert isinstance(answer, api.Issued) is granted
    if not granted:
        assert world.inner_code(number) == "ISSUE_TAX_YEAR_NOT_OFFERED"
        assert answer.code == "CENTER_OPTION_NOT_OFFERED"


@pytest.mark.requirement("R-048")
def test_inquire__offers__what_this_person_can_have_with_fees_and_years(world, everything):
    offered = api.inquire(
        request=world.inquire_request(everything), by=CENTER, at=world.store.applied_at
    )
    assert [(o.kind, o.tax_years) for o in offered.offers] == [
        ("RESIDENT_RECORD_COPY", ()),
        ("SEAL_REGISTRATION", ()),
        ("TAX", (2026,)),
        ("TAX_PAYMENT", (2026,)),
    ]
    assert all(o.fee_yen == 300 and o.title for o in offered.offers)
    assert [scope.value for scope in offered.offers[1].scopes] == ["SELF"]


_STATES = {
    "dead": {"resident_state": "3"},
    "moved_out": {"resident_state": "2"},
    "removed": {"resident_state": "4"},
    "removed_record": {"removed_record": "1"},
    "state_unknown": {"resident_state": ""},
    "change_pending": {"change_pending": "1"},
    "change_unknown": {"change_pending": ""},
    "moving_out_today": {"moving_out_planned_on": "2026-11-22"},
    "moving_out_past": {"moving_out_planned_on": "2026-11-01"},
    "moving_out_confirmed": {"moving_out_confirmed_on": "2026-11-20"},
    "too_young": {"born_on": "2011-11-23"},
    "no_birth_date": {"born_on": ""},
}


@pytest.mark.requirement("R-075")
@pytest.mark.requirement("R-076")
@pytest.mark.parametrize("state", _STATES)
def test_matrix__a_state_of_the_person__stops_every_kind_alike(world, everything, state):
    world.change("1", **_STATES[state])
    answers = {kind: ask(world, everything, kind) for kind in KINDS}
    assert all(isinstance(answer, Refusal) for answer in answers.values())
    # The state of the person is told alike, whichever kind was asked for.
    assert len({answer.code for answer in answers.values()}) == 1


@pytest.mark.requirement("R-074")
@pytest.mark.parametrize("whom", ["1", "2"])
def test_measure__anywhere_in_the_household__denies_every_kind_indistinguishably(
    world, everything, whom
):
    first = world.store.rows["J01", "J01-1"][1]
    world.load(("J01", "J01-2", first | {"addressee_number": "2", "entry_order": "2"}))
    measure = {"addressee_number": whom, "latest": "1", "measure_kind": "1", "deleted": "0"}
    world.load(("J04", "J04-1", measure))
    denied = {kind: ask(world, everything, kind) for kind in KINDS}
    world.load(("J04", "J04-1", None))
    world.change("2", change_pending="1")
    pending = {kind: ask(world, everything, kind) for kind in KINDS}
    assert denied == pending
    assert {a.code for a in denied.values()} == {"CENTER_VISIT_COUNTER"}
    world.change("2", change_pending="0")
    # The end comes as an event of its own and frees the household again.
    assert isinstance(ask(world, everything, "SEAL_REGISTRATION"), api.Issued)


@pytest.mark.requirement("R-054")
@pytest.mark.parametrize(
    ("block", "stopped"),
    [
        ({"block_scope": "3", "seal_registration_number": NUMBER}, {"SEAL_REGISTRATION"}),
        ({"block_scope": "3", "seal_registration_number": "77"}, set()),
        (
            {"block_scope": "4", "tax_year": "2026", "addressee_number": "1"},
            {"TAX", "TAX_PAYMENT"},
        ),
        ({"block_scope": "4", "tax_year": "2026"}, {"TAX", "TAX_PAYMENT"}),
        ({"block_scope": "4", "tax_year": "2024"}, set()),
        ({"block_scope": "4", "tax_year": "2026", "addressee_number": "8"}, set()),
        ({"block_scope": "5", "certificate_kind": "TAX"}, {"TAX", "TAX_PAYMENT"}),
        ({"block_scope": "1", "addressee_number": "1"}, set(KINDS) - {"TAX_EXEMPTION"}),
    ],
)
def test_block_of_the_town__stops_what_it_names(world, everything, block, stopped):
    at = "2026-11-01T00:00:00+09:00"
    world.load(("J06", "J06-1", {"block_starts_at": at, "deleted": "0", **block}))
    kinds = set(KINDS) - {"TAX_EXEMPTION"}
    refused = {kind for kind in kinds if isinstance(ask(world, everything, kind), Refusal)}
    assert refused == stopped


@pytest.mark.requirement("R-054")
def test_block_of_staff__of_one_kind__survives_a_load_of_everything(world, everything):
    at = world.store.applied_at
    block = api.place_block(
        municipality_code=world.code, scope=api.BlockScope.PERSON, addressee_number="1",
        certificate_kind="SEAL_REGISTRATION", reason="test", starts_at=at, by=SYSTEM, at=at,
    )  # fmt: skip
    world.load(*((f, k, row) for (f, k), (_, row) in list(world.store.rows.items())))
    api.rebuild_issuable_records(world.code)
    assert isinstance(ask(world, everything, "SEAL_REGISTRATION"), Refusal)
    assert isinstance(ask(world, everything, "TAX"), api.Issued)
    (listed,) = api.list_blocks(world.code)
    assert (listed.number, listed.scope, listed.certificate_kind) == (
        block, api.BlockScope.PERSON, "SEAL_REGISTRATION",
    )  # fmt: skip
    assert api.list_blocks(world.code, addressee_number="1") == (listed,)
    assert api.list_blocks(world.code, addressee_number="2") == ()
    assert api.lift_block(municipality_code=world.code, block_id=block, by=SYSTEM, at=at)
    assert api.list_blocks(world.code) == ()
    assert isinstance(ask(world, everything, "SEAL_REGISTRATION"), api.Issued)


@pytest.mark.requirement("R-081")
def test_certifier__changes_at_midnight__is_the_one_of_the_day(
    world, everything, set_town, text_of
):
    change = datetime(2026, 11, 23, 0, 0, tzinfo=JST)
    acting = {"title": "見本市長職務代理者　見本市副市長", "name": "代理　次郎"}
    set_town(effective_from=change, kinds=list(KINDS), acting_head=acting)
    seen = []
    for at in (change - timedelta(hours=1, seconds=1), change + timedelta(hours=6, minutes=30)):
        world.store.applied_at = at - timedelta(minutes=5)
        with use(Clock(fixed=at)):
            issued = ask(
                world, everything, "SEAL_REGISTRATION", number=new_number(at),
                requested_at=at, deadline_at=at + timedelta(seconds=20),
            )  # fmt: skip
        assert isinstance(issued, api.Issued)
        text = text_of(issued.pdf).replace(" ", "").replace("\n", "")
        seen.append(("令和8年11月23日" in text, "代理次郎" in text, "見本太郎" in text))
    assert seen == [(False, False, True), (True, True, False)]


@pytest.mark.requirement("R-080")
@pytest.mark.parametrize("kind", ["SEAL_REGISTRATION", "TAX", "TAX_PAYMENT"])
def test_issue__each_kind_again__is_the_same_bytes_or_nothing(world, everything, kind):
    request = world.issue_request(
        everything, certificate_kind=kind, scope=Scope.SELF, show=(),
        tax_year=2026 if kind.startswith("TAX") else None,
    )  # fmt: skip
    first = api.issue_certificate(request=request, by=CENTER, at=request.sent_at)
    again = api.issue_certificate(request=request, by=CENTER, at=request.sent_at)
    assert isinstance(first, api.Issued) and again == first
    # An abolished seal or a revised tax between the two: nothing is sent again (INC-05).
    world.load(
        *seal_rows(world, "1", seal_status="2"),
        *tax_rows("1", assessed={"revision_in_progress": "1"}),
    )
    assert isinstance(
        api.issue_certificate(request=request, by=CENTER, at=request.sent_at), Refusal
    )


@pytest.mark.requirement("R-067")
def test_seal__abolished_while_drawing__nothing_leaves(world, everything, monkeypatch):
    from bcl.issuance.actions import issue as issuing

    real = issuing.make_paper

    def meanwhile(*args, **kwargs):
        paper = real(*args, **kwargs)
        world.load(*seal_rows(world, "1", seal_status="2"))
        return paper

    monkeypatch.setattr(issuing, "make_paper", meanwhile)
    number = new_number(world.store.applied_at)
    answer = ask(world, everything, "SEAL_REGISTRATION", number=number)
    assert answer.code == "CENTER_CERTIFICATE_NOT_AVAILABLE"
    assert world.transaction(number).pdf_sha256 == ""
