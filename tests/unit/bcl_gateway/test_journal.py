"""The journal: numbers without gaps whatever happens to the items, and only steps that exist."""

import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcl_contract import clock
from bcl_gateway.journal import Item, Journal, JournalFault
from bcl_gateway.states import TRANSITIONS, ItemState

WAY_TO = {
    ItemState.COLLECTED: (),
    ItemState.CHECKED: (ItemState.CHECKED,),
    ItemState.SIGNED: (ItemState.CHECKED, ItemState.SIGNED),
    ItemState.LANDED: (
        ItemState.CHECKED, ItemState.SIGNED, ItemState.SENDING, ItemState.SENT, ItemState.LANDED,
    ),
    ItemState.REJECTED: (
        ItemState.CHECKED, ItemState.SIGNED, ItemState.SENDING, ItemState.SENT,
        ItemState.REJECTED,
    ),
    ItemState.RETURNED: (ItemState.CHECKED, ItemState.RETURNED),
}  # fmt: skip


def walk(journal: Journal, name: str, end: ItemState, lane: str) -> Item:
    """Take one folder to its end; it gets its number at sealing, as in `sign`."""
    at = clock.now()
    item = journal.move(journal.add(name, at=at), ItemState.COLLECTED, at=at)
    item = journal.learn(item, at=at, lane=lane)
    for state in WAY_TO[end]:
        if state in (ItemState.SIGNED, ItemState.RETURNED):
            number = journal.free_number(lane, first=1, behind_all=False)
            item = journal.learn(item, at=at, sequence=number)
        facts = {"sequence": None} if state is ItemState.RETURNED else {}
        item = journal.move(item, state, at=at, **facts)
    return item


@pytest.mark.requirement("R-019")
@settings(max_examples=60, deadline=None)
@given(
    ends=st.lists(
        st.tuples(st.sampled_from(sorted(WAY_TO)), st.sampled_from(["main", "urgent"])),
        max_size=25,
    )
)
def test_journal__any_fates_of_the_items__numbers_in_use_have_no_gap(
    tmp_path_factory: pytest.TempPathFactory, ends: list[tuple[ItemState, str]]
) -> None:
    with Journal(tmp_path_factory.mktemp("journal") / "j.sqlite3") as journal:
        for count, (end, lane) in enumerate(ends):
            walk(journal, f"folder-{count}", end, lane)
        for lane in ("main", "urgent"):
            used = [
                item.sequence
                for item in journal.items(lane=lane)
                if item.sequence is not None
                and item.state not in (ItemState.REJECTED, ItemState.RETURNED)
            ]
            assert sorted(used) == list(range(1, len(used) + 1))


def test_journal__every_pair_of_states__moves_only_along_the_table(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.sqlite3") as journal:
        for count, end in enumerate(WAY_TO):
            for target in ItemState:
                item = walk(journal, f"{count}-{target}", end, f"lane-{count}-{target}")
                if target in TRANSITIONS[end]:
                    moved = journal.move(item, target, at=clock.now())
                    assert moved.state is target
                    assert [state for _, state, _ in journal.history(item)][-1] is target
                else:
                    with pytest.raises(JournalFault):
                        journal.move(item, target, at=clock.now())
                    assert journal.item(item.id).state is end


@pytest.mark.requirement("R-019")
def test_journal__same_number_twice_in_a_lane__is_impossible(tmp_path: Path) -> None:
    import sqlite3

    with Journal(tmp_path / "j.sqlite3") as journal:
        walk(journal, "a", ItemState.SIGNED, "main")
        other = walk(journal, "b", ItemState.CHECKED, "main")
        with pytest.raises(sqlite3.IntegrityError):
            journal.learn(other, at=clock.now(), sequence=1)
        assert journal.item(other.id).sequence is None


@pytest.mark.requirement("R-041")
def test_journal__files_on_disk__are_private_and_unknown_facts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite3"
    with Journal(path) as journal:
        item = journal.add("a", at=clock.now())
        with pytest.raises(JournalFault):
            journal.learn(item, at=clock.now(), surprise=1)
        for own in tmp_path.iterdir():
            assert stat.S_IMODE(own.stat().st_mode) == 0o600
