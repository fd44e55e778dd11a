"""Making pages of what has landed, for each subscription of a town from its own position.

One load is one transaction: pages and position stay or go together. A new epoch begins with the
whole state in force, not with history: a subscriber gets nobody who left before it was approved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from bcl.foundation import tenancy
from bcl.resident_store import api as store
from bcl.subscriptions import pages
from bcl.subscriptions.actions.agree import begin_epoch
from bcl.subscriptions.models import DeliveryPage, Subscription
from bcl.subscriptions.pages import ITEM
from bcl.subscriptions.queries import current_fencing_epoch, profile_in
from bcl.subscriptions.rules import SubscriptionState
from bcl_contract.linkage.layouts import load_interface
from bcl_contract.subscription_profile import PROTECTED_PLACES, SubscriptionProfile

_RESIDENTS, _MEASURES = "J01", "J04"
_AT_ONCE = 20_000
_PAGES_AT_ONCE = 200


def prepare_deliveries(municipality_code: str) -> int:
    """Make every page that is due in a town; gives how many. Safe to repeat."""
    with tenancy.scope(municipality_code):
        ids = list(
            Subscription.objects.filter(state=SubscriptionState.ACTIVE)
            .order_by("pk")
            .values_list("pk", flat=True)
        )
    made = 0
    for subscription_id in ids:
        while (step := _prepare_load(municipality_code, subscription_id)) is not None:
            made += step
    return made


def _prepare_load(municipality_code: str, subscription_id: int) -> int | None:
    """The pages of one load, or of the whole state; None when there is nothing to do."""
    with tenancy.scope(municipality_code):
        row = (
            Subscription.objects.select_for_update(of=("self",), no_key=True)
            .filter(pk=subscription_id, state=SubscriptionState.ACTIVE)
            .first()
        )
        if row is None:
            return None
        if row.fencing_epoch != current_fencing_epoch():
            begin_epoch(row, first=row.epoch + 1)
        profile = profile_in(row)
        if row.planned_load == 0:
            # All files of one moment: no load lands until the pages are made.
            store.lock_town(municipality_code)
        newest = store.applied_position(municipality_code).load_number
        if row.planned_load >= newest:
            return None
        if row.planned_load == 0:
            return _write(row, newest, _whole_state(municipality_code, profile), always=True)
        load_number = row.planned_load + 1
        items = _changes(municipality_code, load_number, profile)
        return _write(row, load_number, items, always=False)


def _write(row: Subscription, load_number: int, items: np.ndarray, *, always: bool) -> int:
    """Store the pages of a load. `always`: an empty one too, so that a state is told as whole."""
    cut = list(pages.cut(items)) or ([items] if always else [])
    for begin in range(0, len(cut), _PAGES_AT_ONCE):
        DeliveryPage.objects.bulk_create(
            DeliveryPage(
                municipality_code=row.municipality_code,
                subscription=row,
                epoch=row.epoch,
                number=row.last_page + place + 1,
                load_number=load_number,
                completes_load=place == len(cut) - 1,
                items=pages.pack(cut[place]),
            )
            for place in range(begin, min(begin + _PAGES_AT_ONCE, len(cut)))
        )
    row.last_page += len(cut)
    row.planned_load = load_number
    row.save(update_fields=["last_page", "planned_load"])
    return len(cut)


# -- what belongs on the pages -------------------------------------------------------------------


def _whole_state(municipality_code: str, profile: SubscriptionProfile) -> np.ndarray:
    parts = []
    for file_id in profile.columns:
        live = store.live_records(municipality_code, file_id)
        wanted = live.latest if not profile.history else np.ones(len(live.ids), dtype=bool)
        part = np.zeros(int(wanted.sum()), ITEM)
        part["file"] = file_id.encode()
        part["record"] = live.ids[wanted]
        part["key"] = np.ascontiguousarray(live.record_keys[wanted]).view("V16").ravel()
        part["person"], part["household"] = live.persons[wanted], live.households[wanted]
        parts.append(part)
    return _with_households(municipality_code, _joined(parts))


def _changes(
    municipality_code: str, load_number: int, profile: SubscriptionProfile
) -> np.ndarray:
    """What one load changed in the files of a profile, with what protection makes it give again."""
    files = sorted({*profile.columns, _RESIDENTS, _MEASURES})
    touched = _Touched(store.protected_keys(municipality_code))
    entries = touched.watch(store.changes_of_load(municipality_code, load_number, files))
    ours = (entry for entry in entries if entry.file_id in profile.columns)
    items = _joined(_packed(ours, keep_history=profile.history))
    if PROTECTED_PLACES not in profile.allow and _tells_places(profile):
        again = touched.records_again(municipality_code, list(profile.columns))
        known = set(items["record"].tolist())
        fresh = (each for each in again if each.id not in known)
        items = _joined([items, *_packed_versions(fresh, keep_history=profile.history)])
    return _with_households(municipality_code, items)


def _joined(parts: Iterable[np.ndarray]) -> np.ndarray:
    listed = list(parts)
    return np.concatenate(listed) if listed else np.zeros(0, ITEM)


def _packed(
    entries: Iterable[store.FeedEntry], *, keep_history: bool
) -> Iterator[np.ndarray]:
    """Entries as items; a row that is not the newest any more is gone unless history is kept."""
    rows: list[tuple[bytes, int, bytes, int, int]] = []
    for entry in entries:
        stays = entry.new_record_id is not None and (entry.latest or keep_history)
        record = entry.new_record_id if stays else 0
        if not stays and entry.old_record_id is None:
            continue  # never given
        key = bytes.fromhex(entry.record_key.replace("-", ""))
        rows.append(
            (entry.file_id.encode(), record or 0, key, entry.person_key, entry.household_key)
        )
        if len(rows) >= _AT_ONCE:
            yield np.array(rows, ITEM)
            rows = []
    if rows:
        yield np.array(rows, ITEM)


def _packed_versions(
    versions: Iterable[store.RecordVersion], *, keep_history: bool
) -> Iterator[np.ndarray]:
    rows = [
        (
            each.file_id.encode(), each.id, bytes.fromhex(each.record_key.replace("-", "")),
            each.person_key, each.household_key,
        )
        for each in versions
        if each.latest or keep_history
    ]
    if rows:
        yield np.array(rows, ITEM)


def _with_households(municipality_code: str, items: np.ndarray) -> np.ndarray:
    """Give records without a household that of their person, so that they come together."""
    residents = items[(items["file"] == _RESIDENTS.encode()) & (items["household"] != 0)]
    bare = np.flatnonzero((items["household"] == 0) & (items["person"] != 0))
    if not len(bare) or not len(residents):
        return items
    persons, first = np.unique(residents["person"], return_index=True)
    place = np.minimum(np.searchsorted(persons, items["person"][bare]), len(persons) - 1)
    known = persons[place] == items["person"][bare]
    items["household"][bare[known]] = residents["household"][first[place[known]]]
    return items


def _tells_places(profile: SubscriptionProfile) -> bool:
    files = load_interface().files
    return any(
        store.tells_a_place(files[file_id].column(name))
        for file_id, names in profile.columns.items()
        for name in names
    )


class _Touched:
    """Households whose protection a load may have changed, noted while its changes go by."""

    def __init__(self, protected: store.Protected) -> None:
        self._protected = protected
        self.persons: set[int] = set()
        self.households: set[int] = set()

    def watch(self, entries: Iterable[store.FeedEntry]) -> Iterator[store.FeedEntry]:
        """Pass entries on; note who begins or ends to be protected, and where they move to."""
        for entry in entries:
            if entry.file_id == _MEASURES:
                self.persons.add(entry.person_key)
            elif entry.file_id == _RESIDENTS and entry.person_key in self._protected.persons:
                self.households |= {entry.household_key, entry.old_household_key} - {0}
            yield entry

    def records_again(
        self, municipality_code: str, file_ids: list[str]
    ) -> Iterator[store.RecordVersion]:
        """Records in force of everybody concerned: they are given again, with or without places."""
        persons, households = set(self.persons), set(self.households)
        for person in self.persons:
            own = store.find_by_key(municipality_code, person, file_ids=[_RESIDENTS])
            households |= {each.household_key for each in own if each.latest} - {0}
        for household in households:
            members = store.find_by_key(municipality_code, household, file_ids=[_RESIDENTS])
            persons |= {each.person_key for each in members if each.latest}
        seen: set[int] = set()
        for key in sorted(persons | households):
            for version in store.find_by_key(municipality_code, key, file_ids=file_ids):
                if version.id not in seen:
                    seen.add(version.id)
                    yield version
