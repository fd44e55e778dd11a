"""A town's core business system (基幹業務システム) as one object: generate, live, export, tell."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from bcl_contract import clock
from bcl_sim.core_system import broken, numbers, recovery_check
from bcl_sim.core_system import export as exporting
from bcl_sim.core_system.generate import TownPlan, fill_store
from bcl_sim.core_system.life import Life
from bcl_sim.core_system.recovery_check import RecoveryComparison
from bcl_sim.core_system.restore import restore_store
from bcl_sim.core_system.store import CoreStore, ExportRecord, Row
from bcl_sim.core_system.tables import day_number

REGISTER_FILES = ("J01", "J02", "J03", "J04", "J05", "J06", "J08", "S01", "S02")
TAX_FILES = ("T01", "T02", "T03", "T04", "T05", "T06", "T07")


def _silent(done: int) -> None:
    """Progress for callers that show none."""


@dataclass(frozen=True)
class ExportResult:
    """What an export wrote and where."""

    number: int
    folder: Path
    mode: str
    lane: str
    as_of: str
    rows: dict[str, int]


class Town:
    """One synthetic municipality in one state directory. Not for two processes at a time."""

    def __init__(self, state: Path) -> None:
        """Open an existing town. Raises FileNotFoundError when there is none."""
        self.state = state
        self._store = CoreStore(state)

    @classmethod
    def generate(
        cls,
        state: Path,
        *,
        municipality_code: str = "999997",
        residents: int = 10_000,
        seed: int = 1,
        start_on: dt.date | None = None,
        issuer_key: str = numbers.MAIN_ISSUER_KEY,
        with_tax: bool = True,
        seal_image_share: float = 0.05,
        extra_cases: Sequence[str] = (),
        progress: Callable[[int], None] = _silent,
    ) -> Town:
        """A new town of `residents` living residents; the same arguments give the same town.

        Raises ValueError for a code whose check digit is wrong or a size out of range, and
        FileExistsError when the state directory already holds a town.
        """
        _check_arguments(municipality_code, residents)
        start = start_on or clock.today()
        plan = TownPlan(
            municipality_code=municipality_code,
            seed=seed,
            residents=residents,
            today=day_number(start),
            issuer_key=issuer_key,
            with_tax=with_tax,
            seal_image_share=seal_image_share,
            extra_cases=tuple(extra_cases),
        )
        store = CoreStore.create(
            state,
            {
                "municipality_code": municipality_code,
                "seed": str(seed),
                "residents": str(residents),
                "start_on": start.isoformat(),
                "today": start.isoformat(),
                "issuer_key": issuer_key,
                "with_tax": str(int(with_tax)),
                "seal_image_share": str(seal_image_share),
                "arrivals": "[0, 0, 0]",
                "agenda": "[]",
            },
        )
        fill_store(store, plan, progress=progress)
        store.close()
        return cls(state)

    # --- what it is

    @property
    def municipality_code(self) -> str:
        """Local government code, six digits."""
        return self._store.meta("municipality_code")

    @property
    def today(self) -> dt.date:
        """The day the town has reached."""
        return dt.date.fromisoformat(self._store.meta("today"))

    @property
    def file_ids(self) -> tuple[str, ...]:
        """Files this town keeps."""
        with_tax = self._store.meta("with_tax") == "1"
        return REGISTER_FILES + (TAX_FILES if with_tax else ())

    def exports(self) -> list[ExportRecord]:
        """Exports so far."""
        return self._store.exports()

    def close(self) -> None:
        """Let the state directory go."""
        self._store.close()

    def counts(self) -> dict[str, int]:
        """Living residents, households, removed records and cards."""
        people = self._store.columns(
            "J01", ["latest", "resident_state", "household_number", "resident_kind"]
        ).filter(pl.col("latest") == "1")
        living = people.filter(pl.col("resident_state") == "1")
        return {
            "住民": len(living),
            "うち外国人住民": len(living.filter(pl.col("resident_kind") == "2")),
            "世帯": living["household_number"].n_unique(),
            "除票": len(people) - len(living),
        }

    def pending(self) -> int:
        """Rows changed since the last export of the main lane."""
        after = exporting.last_main_change(self._store.exports())
        return len(self._store.changes_of(self.file_ids, after=after))

    def cases(self) -> list[dict[str, object]]:
        """The planted edge cases, as in `edge_cases.json`."""
        listed: list[dict[str, object]] = json.loads(
            (self.state / "edge_cases.json").read_text(encoding="utf-8")
        )
        return listed

    def advance(
        self,
        days: int = 1,
        *,
        at_least_one_of_each: bool = False,
        correct_share: float = 0.0,
        progress: Callable[[int], None] = _silent,
    ) -> dict[str, int]:
        """Live some days; gives the number of events by kind (Japanese names).

        `correct_share` of all residents get a corrected entry on the first day, for days with
        very many changes.
        """
        return Life(self._store).advance(
            days,
            at_least_one_of_each=at_least_one_of_each,
            correct_share=correct_share,
            progress=progress,
        )

    # --- exports

    def export(
        self,
        out: Path,
        *,
        mode: str = exporting.FULL,
        lane: str = exporting.MAIN,
        files: Sequence[str] | None = None,
        defect: str | None = None,
        progress: Callable[[int], None] = _silent,
    ) -> ExportResult:
        """Write one export into the drop folder `out`; see `export.deliver`.

        A full one carries every file (or `files`); a differential one exactly the rows changed
        since the last export of the main lane, J01 closed over whole households. The urgent
        lane carries only rows that restrict and have not gone out in either lane. `defect`
        spoils the export (`broken.DEFECTS`); such an export is not remembered as sent.

        Raises FileExistsError when `out` holds that export already, ValueError for a defect
        that does not fit and for a full export in the urgent lane.
        """
        if lane == exporting.URGENT and mode == exporting.FULL:
            raise ValueError("至急の連携は差分だけです。")
        chosen = tuple(files or self.file_ids)
        delivery = self._delivery(mode, lane)
        change = self._store.change
        plan = self._plan_export(chosen, mode, lane)

        def write(folder: Path) -> list[exporting.WrittenFile]:
            written = exporting.write_files(folder, delivery, plan.frames, progress)
            return broken.spoil(folder, written, defect) if defect else written

        folder, written = exporting.deliver(out, delivery, write)
        if defect is None:
            # The urgent lane does not move the main lane's position (decision D3).
            reached = change if lane == exporting.MAIN else 0
            self._store.add_export(
                ExportRecord(
                    delivery.number, mode, lane, delivery.as_of, reached, delivery.name, chosen
                ),
                plan.urgent_changes,
            )
        return ExportResult(
            number=delivery.number,
            folder=folder,
            mode=mode,
            lane=lane,
            as_of=delivery.as_of,
            rows={file.file_id: file.rows for file in written if file.file_id != "S02I"},
        )

    def _delivery(self, mode: str, lane: str) -> exporting.Delivery:
        records = self._store.exports()
        number = len(records) + 1
        # Each export tells of a later moment than the one before, also on the same day.
        as_of = dt.datetime.combine(self.today, dt.time(20, 30), clock.JST)
        if records:
            last = dt.datetime.fromisoformat(records[-1].as_of)
            as_of = max(as_of, last + dt.timedelta(minutes=1))
        letter = "F" if mode == exporting.FULL else "D"
        return exporting.Delivery(
            name=f"{self.municipality_code}_{number:08d}_{letter}_{lane}",
            number=number,
            mode=mode,
            lane=lane,
            as_of=as_of.isoformat(),
            municipality_code=self.municipality_code,
        )

    def _plan_export(self, files: Sequence[str], mode: str, lane: str) -> exporting.ExportPlan:
        records = self._store.exports()
        after = exporting.last_main_change(records)
        if lane == exporting.URGENT:
            sent = set(self._store.urgent_changes(len(records)))
            return exporting.plan_urgent(self._store, files, after=after, sent=sent)
        if mode == exporting.FULL:
            return exporting.plan_full(self._store, files)
        return exporting.plan_differential(self._store, files, after=after)

    # --- recovery

    @classmethod
    def restore(
        cls,
        state: Path,
        source: Path,
        *,
        municipality_code: str,
        today: dt.date,
        seed: int = 1,
        issuer_key: str = numbers.MAIN_ISSUER_KEY,
    ) -> Town:
        """An empty core system filled from a recovery export (zip or folder); see `restore`.

        It then lives and exports like the lost one; its planted cases are no longer listed.
        """
        restore_store(
            state, source, municipality_code=municipality_code, seed=seed,
            issuer_key=issuer_key, today=today,
        )  # fmt: skip
        return cls(state)

    def compare_recovery(
        self, source: Path, *, export_number: int | None = None
    ) -> RecoveryComparison:
        """Compare a recovery export (zip or folder) with the truth at an export (default: now).

        An export of ours opens with the published interface alone: nothing of the product's
        reader is used (R-031).
        """
        members = recovery_check.Source(source)
        tables = members.tables()
        results = []
        for file_id in self.file_ids:
            if file_id not in tables:
                expected = self.truth_frames(file_id, export_number)
                results.append(recovery_check.compare_file(file_id, expected, None))
                continue
            with members.open(tables[file_id]) as stream:
                expected = self.truth_frames(file_id, export_number)
                result = recovery_check.compare_file(file_id, expected, stream)
            if not result.equal:
                with members.open(tables[file_id]) as stream:
                    expected = self.truth_frames(file_id, export_number)
                    result.differing = recovery_check.name_differences(file_id, expected, stream)
            results.append(result)
        images = recovery_check.missing_images(members, self.truth_frames("S02", export_number))
        return RecoveryComparison(tuple(results), images)

    # --- plain truth

    def truth_frames(
        self, file_id: str, export_number: int | None = None
    ) -> Iterator[pl.DataFrame]:
        """Rows of a file as they stood at an export (default: now), all columns text."""
        if export_number is None:
            return self._store.frames(file_id)
        records = [r for r in self._store.exports() if r.number <= export_number]
        return self._store.frames(
            file_id,
            until=exporting.last_main_change(records),
            extra=self._store.urgent_changes(export_number),
        )

    def truth(self, export_number: int | None = None) -> dict[str, list[Row]]:
        """Plain rows per file as they stood at an export (default: now). For small towns."""
        return {
            file_id: [
                row
                for frame in self.truth_frames(file_id, export_number)
                for row in frame.iter_rows(named=True)
            ]
            for file_id in self.file_ids
        }


def _check_arguments(municipality_code: str, residents: int) -> None:
    if len(municipality_code) != 6 or not municipality_code.isdigit():
        raise ValueError("municipality_code")
    if numbers.municipality_check_digit(municipality_code) != int(municipality_code[5]):
        raise ValueError("municipality_code")
    if not 200 <= residents <= 2_000_000:
        raise ValueError("residents")
