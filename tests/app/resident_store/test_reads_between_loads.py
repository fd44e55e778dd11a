"""A load that lands between two statements of one read: nobody disappears (R-030, R-074)."""

from __future__ import annotations

import threading

import pytest
from django.db import connections
from store_world import Sender, resident

from bcl.foundation import tenancy
from bcl.resident_store import api as store
from bcl.resident_store import person_search, protection, queries
from bcl.resident_store.web import lookup

pytestmark = [pytest.mark.requirement("R-030"), pytest.mark.django_db(transaction=True)]
SOMEBODY = f"{7:015d}"


def landing_meanwhile(monkeypatch, module, send) -> list[int]:
    """The first time `module` has looked into the search index, `send` lands on another line."""
    find, sent = module.find_record_ids, []

    def and_then(*arguments, **named):
        found = find(*arguments, **named)
        if not sent:
            sent.append(1)
            other = threading.Thread(target=lambda: (send(), connections.close_all()))
            other.start()
            other.join()
        return found

    monkeypatch.setattr(module, "find_record_ids", and_then)
    return sent


def moved(number: int, to: str) -> dict[str, str]:
    return resident(number, household=number, registered_domicile=to)


def test_find_person__load_between_the_statements__is_found_as_before(town, monkeypatch):
    sender = Sender(town)
    sender.send({"J01": [moved(number, "見本県前") for number in range(1, 10)]})
    sent = landing_meanwhile(
        monkeypatch, queries,
        lambda: sender.send({"J01": [moved(7, "見本県後")]}, mode="differential"),
    )  # fmt: skip
    with tenancy.scope(town):
        [found] = store.find_person(town, SOMEBODY)
        read = store.read_records(town, [found.id], columns=["registered_domicile"])
        assert sent and read[found.id]["registered_domicile"] == "見本県前"
        [found] = store.find_person(town, SOMEBODY)
        read = store.read_records(town, [found.id], columns=["registered_domicile"])
        assert read[found.id]["registered_domicile"] == "見本県後"


def test_search_page__load_between_the_statements__still_lists_the_person(town, monkeypatch):
    sender = Sender(town)
    sender.send({"J01": [moved(number, "見本県前") for number in range(1, 10)]})
    sent = landing_meanwhile(
        monkeypatch, person_search,
        lambda: sender.send({"J01": [moved(7, "見本県後")]}, mode="differential"),
    )  # fmt: skip
    with tenancy.scope(town):
        listed, more = lookup.search(town, {"addressee_number": SOMEBODY})
    assert sent and [one.addressee_number for one in listed] == [SOMEBODY] and not more


@pytest.mark.requirement("R-074")
def test_protected_household__load_between_the_statements__stays_covered(town, monkeypatch):
    measure = {
        "municipality_code": town, "addressee_number": SOMEBODY, "history_number": "00001",
        "latest": "1", "measure_started_on": "2026-01-01", "measure_kind": "2",
        "measure_target_kind": "1", "measure_reason": "1", "deleted": "0",
        "operator_id": "op1", "operated_on": "2026-10-01", "operated_time": "09:00:00",
    }  # fmt: skip
    sender = Sender(town)
    sender.send(
        {"J01": [moved(number, "見本県前") for number in range(1, 10)], "J04": [measure]}
    )
    protection._protected_after.cache_clear()
    sent = landing_meanwhile(
        monkeypatch, queries,
        lambda: sender.send({"J01": [moved(7, "見本県後")]}, mode="differential"),
    )  # fmt: skip
    with tenancy.scope(town):
        protected = protection.protected_keys(town)
    assert sent and len(protected.persons) == len(protected.households) == 1
