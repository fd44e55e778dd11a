"""What a subscriber gets: its columns, from its position, with protection, everybody on record."""

from __future__ import annotations

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_world import Sender, resident

from bcl.foundation import audit_looks, clock, tenancy
from bcl.resident_store import api as store
from bcl.subscriptions import api, retention
from bcl.subscriptions.models import DeliveryPage, Subscription

pytestmark = pytest.mark.requirement("R-029", "R-155")


def measure(number: int, **values: str) -> dict[str, str]:
    """A protective measure in force for a person."""
    return {
        "municipality_code": "999997", "addressee_number": f"{number:015d}",
        "history_number": "00001", "latest": "1", "measure_started_on": "2026-11-01",
        "measure_kind": "1", "deleted": "0", "operator_id": "op1",
        "operated_on": "2026-11-01", "operated_time": "09:00:00",
    } | values


def people(count: int, **values: str) -> list[dict[str, str]]:
    """Residents, two a household, the first of each its head."""
    return [
        resident(
            number, household=(number + 1) // 2, order=2 - number % 2,
            head_of_household_name=f"試験　住民{number - (number + 1) % 2}",
            **({"address_town": "本町"} | values),
        )
        for number in range(1, count + 1)
    ]


def test_first_pages__hold_the_columns_of_the_profile_and_nothing_else(
    town, agreement, consumer
) -> None:
    Sender(town).send({"J01": people(6)})
    agreement.agreed()
    assert consumer.follow() == 1
    assert consumer.by_number() == {
        f"{number:015d}": {
            "addressee_number": f"{number:015d}", "full_name": f"試験　住民{number}",
            "address_town": "本町",
        }
        for number in range(1, 7)
    }
    assert consumer.pages[-1].load_complete


def test_later_loads__give_changes_moves_and_ends_in_order(town, agreement, consumer) -> None:
    sender, rows = Sender(town), people(6)
    sender.send({"J01": rows})
    agreement.agreed()
    consumer.follow()
    changed = rows[0] | {"address_town": "栄町"}
    sender.send({"J01": [changed, rows[5] | {"deleted": "1"}]}, mode="differential")
    # The next row of somebody's history: the older one is not the newest any more.
    older = rows[2] | {"latest": "0"}
    newer = rows[2] | {"history_number": "00002", "full_name": "改姓　住民3"}
    sender.send({"J01": [older, newer]}, mode="differential")
    assert consumer.follow() == 2
    kept = consumer.by_number()
    assert kept[f"{1:015d}"]["address_town"] == "栄町"
    assert kept[f"{3:015d}"]["full_name"] == "改姓　住民3"
    assert f"{6:015d}" not in kept and len(consumer.copy) == 5


def test_history__only_where_the_profile_asks_for_it(town, agreement, consumer) -> None:
    row = people(1)[0]
    older = row | {"latest": "0", "history_number": "00000"}
    Sender(town).send({"J01": [older, row]})
    agreement.agreed(history=True)
    consumer.follow()
    assert len(consumer.copy) == 2


def test_page__not_named_as_stored__comes_again_and_then_is_gone(
    town, agreement, consumer, monkeypatch
) -> None:
    monkeypatch.setattr("bcl.subscriptions.pages.PAGE_ITEMS", 4)
    Sender(town).send({"J01": people(10)})
    agreement.agreed()
    first, again = consumer.ask(), consumer.ask()
    assert first == again and len(first.items) == 4 and first.more and not first.load_complete
    assert len({item.household for item in first.items}) == 2, "no household is cut in two"
    second = consumer.ask(epoch=first.epoch, after=first.page)
    assert {i.record for i in first.items} & {i.record for i in second.items} == set()
    passed = consumer.ask(epoch=first.epoch, after=0)
    assert passed.code == "SUBSCRIPTION_POSITION_PASSED"
    ahead = consumer.ask(epoch=first.epoch, after=second.page + 1)
    assert ahead.code == "SUBSCRIPTION_POSITION_INVALID"
    with tenancy.scope(town):
        assert not DeliveryPage.objects.filter(number__lte=first.page).exists()


@pytest.mark.parametrize("cut_after", [1, 2, 3])
def test_subscriber__that_dies_between_pages__ends_with_the_whole_state(
    town, agreement, consumer, monkeypatch, cut_after
) -> None:
    """The copy and the position are one transaction there: a page too many does no harm."""
    monkeypatch.setattr("bcl.subscriptions.pages.PAGE_ITEMS", 2)
    sender, rows = Sender(town), people(8)
    sender.send({"J01": rows})
    agreement.agreed()
    for _ in range(cut_after):  # stored but never named: the answer was lost
        page = consumer.ask()
        consumer.epoch = page.epoch
        consumer.copy |= {item.record: item.columns for item in page.items}
    sender.send({"J01": [rows[0] | {"full_name": "改名　住民1"}]}, mode="differential")
    consumer.follow()
    assert len(consumer.copy) == 8
    assert consumer.by_number()[f"{1:015d}"]["full_name"] == "改名　住民1"


def test_columns__beyond_the_profile__are_denied(town, agreement, consumer) -> None:
    Sender(town).send({"J01": people(2)})
    agreement.agreed()
    for asked in ({"J01": ["full_name", "born_on"]}, {"J04": ["measure_kind"]}):
        denied = consumer.ask(columns=asked)
        assert denied.code == "SUBSCRIPTION_COLUMN_DENIED"
    fewer = consumer.ask(columns={"J01": ["full_name"]})
    assert all(set(item.columns) == {"full_name"} for item in fewer.items)


def test_another_system__is_told_nothing(town, agreement, consumer) -> None:
    from bcl.municipalities.api import SubscriberIdentity

    Sender(town).send({"J01": people(2)})
    agreement.agreed()
    consumer.caller = SubscriberIdentity("other-system", "別")
    assert consumer.ask().code == "SUBSCRIPTION_TOWN_NOT_AGREED"
    consumer.name = "never-was"
    assert consumer.ask().code == "SUBSCRIPTION_TOWN_NOT_AGREED"


@pytest.mark.requirement("R-172")
def test_everybody_on_a_page__has_it_on_record(town, agreement, consumer) -> None:
    Sender(town).send({"J01": people(4)})
    agreement.agreed()
    begun = clock.now()
    consumer.follow()
    for number in range(1, 5):
        (look,) = audit_looks.who_saw(
            town, f"{number:015d}", since=begun, until=clock.now()
        )
        assert (look.actor_kind, look.actor_id) == ("subscriber", "school-system")
        assert look.act.kind == "HANDED_OUT"
        assert ("subscription", "school-roll") in look.places


# -- protection ----------------------------------------------------------------------------------


@pytest.mark.requirement("R-074")
def test_measure__that_begins__takes_the_places_of_the_household_back(
    town, agreement, consumer
) -> None:
    sender = Sender(town)
    sender.send({"J01": people(4)})
    agreement.agreed()
    consumer.follow()
    sender.send({"J04": [measure(2)]}, mode="differential", lane="urgent")
    consumer.follow()
    kept = consumer.by_number()
    assert [kept[f"{n:015d}"]["address_town"] for n in (1, 2, 3, 4)] == [None, None, "本町", "本町"]
    given = {i.columns["addressee_number"]: i.withheld for i in consumer.pages[-1].items}
    assert given == {f"{n:015d}": ["address_town"] for n in (1, 2)}


@pytest.mark.requirement("R-074")
def test_measure__of_this_minute__holds_for_pages_made_before_it(
    town, agreement, consumer
) -> None:
    sender = Sender(town)
    sender.send({"J01": people(2)})
    agreement.agreed()
    sender.send({"J04": [measure(1)]}, mode="differential", lane="urgent")
    page = consumer.ask()
    assert all(item.columns["address_town"] is None for item in page.items)


@pytest.mark.requirement("R-074")
def test_measure__that_ends__gives_the_places_again(town, agreement, consumer) -> None:
    sender = Sender(town)
    sender.send({"J01": people(2), "J04": [measure(1)]})
    agreement.agreed()
    consumer.follow()
    assert consumer.by_number()[f"{1:015d}"]["address_town"] is None
    sender.send({"J04": [measure(1, measure_kind="3")]}, mode="differential")
    consumer.follow()
    assert consumer.by_number()[f"{1:015d}"]["address_town"] == "本町"


@pytest.mark.requirement("R-074")
def test_protected_person__who_moves__takes_the_new_household_s_places_back(
    town, agreement, consumer
) -> None:
    sender, rows = Sender(town), people(4)
    sender.send({"J01": rows, "J04": [measure(2)]})
    agreement.agreed()
    consumer.follow()
    moved = rows[1] | {
        "household_number": f"{2:015d}", "entry_order": "003",
        "head_of_household_name": "試験　住民3",
    }
    sender.send({"J01": [moved]}, mode="differential")
    consumer.follow()
    kept = consumer.by_number()
    assert [kept[f"{n:015d}"]["address_town"] for n in (1, 2, 3, 4)] == ["本町", None, None, None]


def test_places_of_protected_persons__with_profile_and_approval__are_given(
    town, agreement, consumer
) -> None:
    Sender(town).send({"J01": people(2), "J04": [measure(1)]})
    agreement.agreed(allow={"protected_places": "避難先への連絡"})
    consumer.follow()
    assert consumer.by_number()[f"{1:015d}"]["address_town"] == "本町"


# -- search --------------------------------------------------------------------------------------


def test_find__by_a_key_of_the_profile__gives_that_person_and_others_nothing(
    town, agreement, consumer, caller
) -> None:
    Sender(town).send({"J01": people(4)})
    agreement.agreed(search=["person"])

    def find(kind: str, value: str):
        return api.find_records(
            town, "school-roll", caller=caller, kind=kind, value=value, columns=None,
            at=clock.now(),
        )

    begun = clock.now()
    (item,) = find("person", f"{3:015d}").items
    assert item.columns["full_name"] == "試験　住民3"
    assert find("person", f"{9:015d}").items == []
    assert find("household", f"{1:015d}").code == "SUBSCRIPTION_SEARCH_DENIED"
    assert len(audit_looks.who_saw(town, f"{3:015d}", since=begun, until=clock.now())) == 1


# -- epochs --------------------------------------------------------------------------------------


def test_restored_database__begins_a_new_epoch(
    town, agreement, consumer, monkeypatch
) -> None:
    Sender(town).send({"J01": people(2)})
    agreement.agreed()
    consumer.follow()
    for module in ("agree", "deliver", "prepare"):
        place = f"bcl.subscriptions.actions.{module}.current_fencing_epoch"
        monkeypatch.setattr(place, lambda: 7)
    refused = consumer.ask()
    assert refused.code == "SUBSCRIPTION_EPOCH_CHANGED"
    consumer.epoch, consumer.after, consumer.copy = refused.detail["epoch"], 0, {}
    assert consumer.follow() == 1 and len(consumer.copy) == 2


def test_rebuild_and_restart__give_everything_again(town, agreement, consumer, caller) -> None:
    Sender(town).send({"J01": people(2)})
    agreement.agreed()
    consumer.follow()
    agreement.change("rebuild")
    assert consumer.ask().code == "SUBSCRIPTION_EPOCH_CHANGED"
    epoch = api.restart(town, "school-roll", caller=caller, at=clock.now())
    consumer.epoch, consumer.after, consumer.copy = epoch, 0, {}
    assert consumer.follow() == 1 and len(consumer.copy) == 2


def test_reader__holds_the_load_that_a_page_still_needs(town, agreement, consumer) -> None:
    sender, rows = Sender(town), people(2)
    sender.send({"J01": rows})
    agreement.agreed()
    sender.send({"J01": [rows[0] | {"address_town": "栄町"}]}, mode="differential")
    api.prepare_deliveries(town)
    with tenancy.scope(town):
        assert retention._position(town) == 1
    consumer.follow()
    consumer.ask()  # names the last page
    with tenancy.scope(town):
        assert retention._position(town) == 2


def test_status__says_how_far_behind_a_subscriber_is(town, agreement, consumer) -> None:
    sender, rows = Sender(town), people(2)
    sender.send({"J01": rows})
    agreement.agreed()
    (status,) = api.list_subscriptions(town)
    assert (status.loads_behind, status.pages_waiting, status.is_built) == (1, 1, True)
    consumer.follow()
    (status,) = api.list_subscriptions(town)
    assert (status.loads_behind, status.pages_waiting) == (0, 0)
    assert status.row.delivered_at is not None


@settings(
    max_examples=12, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(days=st.lists(
    st.lists(st.tuples(st.integers(1, 8), st.sampled_from(["change", "end", "protect"])),
             min_size=1, max_size=4, unique_by=lambda each: each[0]),
    min_size=1, max_size=4,
))
def test_copy__after_any_days__equals_the_store(town, agreement, consumer, days) -> None:
    """The oracle is the store read anew: same people, same values, protected places empty."""
    with transaction.atomic():
        sender, rows = Sender(town), {n: row for n, row in enumerate(people(8), 1)}
        sender.send({"J01": rows.values()})
        agreement.agreed()
        consumer = type(consumer)(town, consumer.caller)
        consumer.follow()
        for day, events in enumerate(days):
            sent: dict[str, list] = {"J01": [], "J04": []}
            for number, event in events:
                if event == "protect":
                    sent["J04"].append(measure(number))
                elif number in rows:
                    rows[number] |= {"address_town": f"町{day}"}
                    ends = {"deleted": "1"} if event == "end" else {}
                    sent["J01"].append(rows[number] | ends)
                    if event == "end":
                        del rows[number]
            files = {name: each for name, each in sent.items() if each}
            if files:
                sender.send(files, mode="differential")
            if day % 2:
                consumer.follow()
        consumer.follow()
        assert consumer.by_number() == _truth(town, rows)
        transaction.set_rollback(True)
    _forget_protection()


def _forget_protection() -> None:
    from bcl.resident_store import protection

    protection._protected_after.cache_clear()
    protection.household_members.cache_clear()


def _truth(town: str, rows: dict[int, dict]) -> dict[str, dict]:
    found: dict[str, dict] = {}
    with tenancy.scope(town):
        protected = store.protected_keys(town)
        for number in rows:
            (version,) = store.find_person(town, f"{number:015d}", file_ids=["J01"])
            names = ["addressee_number", "full_name", "address_town"]
            values = store.read_records(town, [version.id], columns=names)[version.id]
            if protected.covers(version.person_key, version.household_key):
                values["address_town"] = None
            found[f"{number:015d}"] = values
    return found


def test_ended_subscription__keeps_no_page(town, agreement, consumer) -> None:
    Sender(town).send({"J01": people(2)})
    agreement.agreed()
    agreement.change("end")
    assert consumer.ask().code == "SUBSCRIPTION_ENDED"
    with tenancy.scope(town):
        assert not DeliveryPage.objects.exists()
        assert Subscription.objects.get().state == "ENDED"
