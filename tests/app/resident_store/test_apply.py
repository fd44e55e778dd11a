"""Applying transmissions: what lands, what a search finds, what a feed says."""

from __future__ import annotations

import pytest
from store_world import Sender, resident

from bcl.resident_store import api as store


@pytest.fixture
def sender(town: str) -> Sender:
    return Sender(town)


@pytest.mark.requirement("R-015")
def test_full_load__of_an_empty_store__is_found_and_read_back(sender: Sender) -> None:
    rows = [resident(number, household=number) for number in range(1, 301)]
    result = sender.send({"J01": rows})
    assert result.landed
    assert result.summary.files[0].inserted == 300
    assert result.summary.residents_after == 300
    assert set(result.summary.finding_counts) <= {"warning"}
    assert store.counts(sender.town) == {"J01": 300, "residents": 300}
    (version,) = store.find_person(sender.town, rows[250]["addressee_number"])
    values = store.read_records(sender.town, [version.id])[version.id]
    assert {name: value for name, value in values.items() if value} == rows[250]
