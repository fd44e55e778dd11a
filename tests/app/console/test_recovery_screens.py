"""リカバリ screens: two persons, a fresh code each, exactly the request that was shown (R-033)."""

from __future__ import annotations

import re
from datetime import datetime

import pyrage
import pytest

from bcl.accounts import api as accounts
from bcl.foundation import clock, tenancy
from bcl.foundation.models import AuditEntry
from bcl.municipalities import api as municipalities
from bcl.recovery import api as recovery
from bcl.resident_store.models import Load

TOWN, OTHER = "999997", "999989"
pytestmark = pytest.mark.requirement("R-033")
WISH = {
    "which": "newest",
    "reason": "庁舎が浸水したため",
    "incident_id": "2026-0001",
    "receiver_id": "city-hall",
}


@pytest.fixture
def receiver(office) -> str:
    identity = pyrage.x25519.Identity.generate()
    municipalities.register_recovery_receiver(TOWN, "city-hall", str(identity.to_public()))
    at = clock.now()
    with tenancy.scope(TOWN):
        Load.objects.create(
            municipality_code=TOWN, load_number=1, lane="main", sequence=4, mode="full",
            as_of=at, applied_at=at, transmission_id="t", interface_version="1.0",
            counts={"records": {}},
        )  # fmt: skip
    return str(identity)


def stamp_of(page: str) -> str:
    return re.search(r'name="stamp" value="([0-9a-f]{64})"', page).group(1)


def ask(office, client, person, **more: object):
    return office.post(client, "/recovery/new", **(WISH | {"code": person.code()} | more))


def test_request_and_approval__by_two_persons_with_fresh_codes(office, receiver) -> None:
    clerk = office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    approver = office.add(TOWN, "approver-1", accounts.Role.TOWN_APPROVER)
    with office.signed_in(clerk) as client:
        asked = ask(office, client, clerk)
        assert asked.status_code == 302, asked.text
        (export,) = recovery.list_exports(TOWN)
        page = client.get(f"/recovery/{export.pk}").text
        assert "庁舎が浸水したため" in page and "承認は別の人が行います" in page
        assert office.post(client, f"/recovery/{export.pk}/approve").status_code == 403
    with office.signed_in(approver) as client:
        here = f"/recovery/{export.pk}"
        stamp = stamp_of(client.get(here).text)
        wrong = office.post(client, f"{here}/approve", stamp=stamp, code="000000")
        assert (wrong.status_code, "SIGN_IN_CODE_WRONG" in wrong.text) == (401, True)
        code = approver.code()
        other = office.post(client, f"{here}/approve", stamp="0" * 64, code=code)
        assert "RECOVERY_REQUEST_CHANGED" in other.text
        again = office.post(client, f"{here}/approve", stamp=stamp, code=code)
        assert "SIGN_IN_CODE_WRONG" in again.text, "a code is good once"
    assert recovery.find_export(TOWN, export.pk).state == "REQUESTED"


def test_approval__binds_to_the_request__and_stands_signed_in_the_record(office, receiver) -> None:
    clerk = office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    approver = office.add(TOWN, "approver-1", accounts.Role.TOWN_APPROVER)
    with office.signed_in(clerk) as client:
        ask(office, client, clerk)
    (export,) = recovery.list_exports(TOWN)
    with office.signed_in(approver) as client:
        here = f"/recovery/{export.pk}"
        stamp = stamp_of(client.get(here).text)
        good = office.post(client, f"{here}/approve", stamp=stamp, code=approver.code())
        assert good.headers["Location"].endswith("?done=recovery-approved"), good.text
        assert 'data-refresh-seconds="3"' in client.get(here).text
    found = recovery.find_export(TOWN, export.pk)
    assert (found.state, found.requested_by, found.approved_by) == (
        "APPROVED", "clerk-1", "approver-1",
    )  # fmt: skip
    assert found.request_signature and found.approval_signature
    with tenancy.scope(TOWN):
        acts = set(AuditEntry.objects.values_list("act", "actor_id"))
    assert {("request_export", "clerk-1"), ("approve_export", "approver-1")} <= acts


def test_request__that_says_too_little__is_shown_again_with_the_reason(office, receiver) -> None:
    clerk = office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    with office.signed_in(clerk) as client:
        for wrong in (
            {"reason": ""},
            {"receiver_id": "somebody"},
            {"which": "at", "as_of_at": ""},
            {"which": "sequence", "sequence": "x"},
            {"which": "sequence", "sequence": ""},
        ):
            refused = office.post(client, "/recovery/new", **(WISH | {"code": "123456"} | wrong))
            assert (refused.status_code, "error" in refused.text) == (422, True), wrong
        unknown = ask(office, client, clerk, which="sequence", sequence="99")
        assert "RECOVERY_STATE_UNKNOWN" in unknown.text
    assert recovery.list_exports(TOWN) == []


def test_package__is_taken_by_who_may__and_its_companions_only_by_name(office, receiver) -> None:
    clerk = office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    approver = office.add(TOWN, "approver-1", accounts.Role.TOWN_APPROVER)
    with office.signed_in(clerk) as client:
        ask(office, client, clerk)
        (export,) = recovery.list_exports(TOWN)
        with office.signed_in(approver) as second:
            here = f"/recovery/{export.pk}"
            stamp = stamp_of(second.get(here).text)
            office.post(second, f"{here}/approve", stamp=stamp, code=approver.code())
            assert second.get(f"{here}/files/reader.py").status_code == 403
        built = recovery.build_export(TOWN, export.pk, at=clock.now())
        assert built.state == "BUILT"
        assert client.get(f"{here}/files/reader.py").content.startswith(b"#!")
        for name in ("recovery_999997_000001.zip.age", "..%2Fx", "nothing"):
            assert client.get(f"{here}/files/{name}").status_code == 404
        stamp = stamp_of(client.get(here).text)
        office.forget_codes(clerk)
        stale = office.post(client, f"{here}/take", stamp="0" * 64, code=clerk.code())
        assert stale.status_code == 409
        taken = office.post(client, f"{here}/take", stamp=stamp, code=clerk.code())
    assert taken.status_code == 200 and "attachment" in taken.headers["Content-Disposition"]
    opened = pyrage.decrypt(taken.content, [pyrage.x25519.Identity.from_str(receiver)])
    assert opened.startswith(b"PK")
    assert recovery.find_export(TOWN, export.pk).released_by == "clerk-1"


def test_request__of_another_town__is_as_unknown_as_none(office, receiver) -> None:
    clerk = office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    foreign = office.add(OTHER, "clerk-2", accounts.Role.TOWN_CLERK)
    with office.signed_in(clerk) as client:
        ask(office, client, clerk)
    (export,) = recovery.list_exports(TOWN)
    with office.signed_in(foreign) as client:
        for number in (export.pk, export.pk + 1, 2**70):
            assert client.get(f"/recovery/{number}").status_code == 404
        assert str(export.incident_id) not in client.get("/recovery").text


def test_wish__for_a_time__is_read_as_japan_time() -> None:
    from bcl.recovery.web.forms import RequestForm

    given = WISH | {"which": "at", "as_of_at": "2026-11-20T20:30", "code": "123456"}
    form = RequestForm(given, receivers=["city-hall"])
    assert form.is_valid(), form.errors
    wish = form.wish(clock.now())
    assert wish["as_of"].at == datetime(2026, 11, 20, 20, 30, tzinfo=clock.JST)
