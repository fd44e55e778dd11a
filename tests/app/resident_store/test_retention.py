"""Ended records go when their period is over, with proof; everything else stays (R-177)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from store_world import START, Sender, resident

from bcl.foundation import audit, clock, retention, tenancy
from bcl.foundation.models import DeletionCertificate
from bcl.issuance.models import ProjectionPosition
from bcl.municipalities import api as municipalities
from bcl.municipalities import retention_run
from bcl.resident_store import api as store
from bcl.resident_store.models import EndedRecord, HistoryStart, Page

pytestmark = [pytest.mark.requirement("R-177"), pytest.mark.django_db(transaction=True)]
YEARS = START + timedelta(days=1827)


def moved(number: int) -> dict[str, str]:
    return resident(number, household=number, registered_domicile="見本県隣町市一番地")


@pytest.fixture
def sender(town):
    """Three loads, an hour apart: all, half of them changed, the first ten deleted."""
    made = Sender(town)
    made.send({"J01": [resident(n, household=n) for n in range(1, 301)]})
    made.send({"J01": [moved(n) if n % 2 else resident(n, household=n) for n in range(1, 301)]})
    made.send({"J01": [moved(n) if n % 2 else resident(n, household=n) for n in range(11, 301)]})
    with tenancy.scope(town):
        ProjectionPosition.objects.create(municipality_code=town, load_number=3)
    return made


def contents(town: str, load: int) -> list[str]:
    """The whole state after a load, as the lines' names and remarks."""
    found = []
    with tenancy.scope(town):
        for number in range(1, 301):
            for version in store.find_person(town, f"{number:015d}", as_of=load):
                values = store.read_records(
                    town, [version.id], columns=["full_name", "registered_domicile"]
                )[version.id]
                found.append(f"{values['full_name']} {values['registered_domicile']}")
    return found


def test_run__before_the_period_is_over__deletes_nothing(town, sender):
    assert retention_run.run(town, at=START + timedelta(days=1827)) == []
    with tenancy.scope(town):
        assert store.load_number_at(town, sequence=1) == 1


def test_run__after_it__deletes_ended_records_and_keeps_every_later_state(town, sender):
    states = {load: contents(town, load) for load in (2, 3)}
    with tenancy.scope(town):
        before = {page.id: bytes(page.sealed) for page in Page.objects.all()}
        assert EndedRecord.objects.count() == 160  # 150 changed, 10 deleted
    cutoff_between = START + timedelta(days=1827, hours=2, minutes=30)  # loads 1 and 2 are old
    assert [row.expired for row in report(town, cutoff_between)] == [150]
    [certificate] = retention_run.run(town, at=cutoff_between)
    assert certificate.content["counts"] == {
        "records": 150, "pages_dropped": 0, "pages_rewritten": 3,
    }
    assert [row.expired for row in report(town, cutoff_between)] == [0]
    assert retention_run.run(town, at=cutoff_between) == []
    assert {load: contents(town, load) for load in (2, 3)} == states
    with tenancy.scope(town):
        assert store.load_number_at(town, sequence=1) is None  # that state is no longer whole
        assert store.load_number_at(town, sequence=2) == 2
        assert HistoryStart.objects.get().load_number == 2
        emptied = EndedRecord.objects.filter(until_load=2)
        assert set(emptied.values_list("person_key", "household_key")) == {(0, 0)}
        changed = [page for page in Page.objects.all() if bytes(page.sealed) != before[page.id]]
        assert len(changed) == 3
    assert sender.send({"J01": [resident(n, household=n) for n in range(1, 301)]}).landed


def test_deleted_record__is_in_no_page_and_no_search(town, sender):
    with tenancy.scope(town):
        [old] = store.find_person(town, f"{5:015d}", as_of=1)
        assert store.read_records(town, [old.id])[old.id]["full_name"] == "試験　住民5"
    retention_run.run(town, at=YEARS + timedelta(days=2))
    with tenancy.scope(town):
        left = store.read_records(town, [old.id])
        assert all(value is None for values in left.values() for value in values.values())
        assert old.id not in [each.id for each in store.find_person(town, f"{5:015d}")]


def test_page__whose_records_all_ended__is_dropped_whole(town):
    sender = Sender(town)
    sender.send({"J01": [resident(n, household=n) for n in range(1, 257)]})
    sender.send({"J01": [moved(n) for n in range(1, 257)]})
    retention_run.run(town, at=YEARS + timedelta(days=2))
    with tenancy.scope(town):
        assert set(Page.objects.values_list("load_number", flat=True)) == {2}
        assert not EndedRecord.objects.exists()
        assert store.counts(town)["residents"] == 256


def test_feed__read_from_the_start_after_a_deletion__gives_the_present_state(town, sender):
    retention_run.run(town, at=YEARS + timedelta(days=2))
    state: dict[str, int] = {}
    with tenancy.scope(town):
        for load in (1, 2, 3):
            for entry in store.changes_of_load(town, load, ["J01"]):
                if entry.new_record_id is None:
                    state.pop(entry.record_key, None)
                else:
                    state[entry.record_key] = entry.new_record_id
        values = store.read_records(town, list(state.values()), columns=["addressee_number"])
    numbers = sorted(int(row["addressee_number"]) for row in values.values())
    assert numbers == list(range(11, 301))


def test_consumer_that_lags__keeps_what_it_still_needs(town, sender):
    with tenancy.scope(town):
        ProjectionPosition.objects.update(load_number=1)
    assert retention_run.run(town, at=YEARS + timedelta(days=2)) == []
    with tenancy.scope(town):
        ProjectionPosition.objects.update(load_number=2)
    [certificate] = retention_run.run(town, at=YEARS + timedelta(days=2))
    assert certificate.content["counts"]["records"] == 150


def test_period__set_by_the_town__counts_from_its_date(town, sender):
    at = START + timedelta(days=40)
    municipalities.set_setting(
        town,
        "retention.store.ended_records",
        30,
        effective_from=START + timedelta(days=39),
        by=audit.SYSTEM,
    )
    assert retention_run.run(town, at=START + timedelta(days=38)) == []
    assert [row.keep_days for row in report(town, at)] == [30]
    assert retention_run.run(town, at=at)


def test_certificates__form_a_signed_chain_that_shows_any_change(town, sender):
    at = YEARS + timedelta(hours=2, minutes=30)
    retention_run.run(town, at=at)
    retention_run.run(town, at=at + timedelta(days=2))
    chain = retention.list_certificates(town)
    assert len(chain) >= 2 and retention.first_broken(chain) is None
    with tenancy.scope(town), pytest.raises(Exception, match="permission denied"):
        DeletionCertificate.objects.update(data_class="x")
    forged = retention.list_certificates(town)
    forged[0].content["counts"]["records"] = 1
    assert retention.first_broken(forged) == 1
    assert retention.first_broken(chain[1:]) == 1
    chain[1].signature = chain[0].signature
    assert retention.first_broken(chain) == 2


def test_report__names_every_class_with_its_source(town):
    rows = retention_run.report(town, at=clock.now())
    assert {row.period.data_class for row in rows if row.period.by == "run"} == set(
        retention.classes()
    )
    assert all(row.period.source_ja and row.period.label_ja for row in rows)
    assert next(row for row in rows if row.period.by == "never").keep_days is None


def report(town, at):
    rows = retention_run.report(town, at=at)
    return [row for row in rows if row.period.data_class == "store.ended_records"]
