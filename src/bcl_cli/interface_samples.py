"""Samples of the kit: exports of an invented town, good ones and every way to be wrong.

What the validator has to say of each is written down beforehand (`data/interface_samples.csv`),
not taken from the validator; a kit whose samples come out otherwise is not built.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path

from bcl_contract.linkage.convert import convert_path
from bcl_contract.linkage.sample_expectations import Expectation, write_expectations
from bcl_contract.linkage.validator import validate_path
from bcl_contract.refusals import Refusal
from bcl_sim.core_system.broken import Table, all_defects
from bcl_sim.core_system.town import Town

WRITTEN_VERSION = "1.0"
"""The version that the simulated core system writes; others are converted from it."""
EXPECTATIONS = "samples.csv"
RESIDENTS = 200
SEED = 1
_LIFTING, _AS_URGENT = "@lifting", "@as_urgent"


class WrongSample(RuntimeError):
    """A sample is not what it is said to be: the kit must not go out."""


@dataclass(frozen=True)
class _Wish:
    """One row of `interface_samples.csv`."""

    name: str
    mode: str
    lane: str
    files: tuple[str, ...]
    defect: str
    expected: Expectation

    @property
    def is_good(self) -> bool:
        """Whether it is a whole export as it should be."""
        return not self.defect


def write_samples(folder: Path, version: str, *, start_on: date) -> list[Expectation]:
    """Write all samples below `folder` with their list; gives what is expected of each.

    The same arguments write the same bytes. Of a version that the simulator doesn't write there
    are the good samples only, converted. Raises `WrongSample`.
    """
    wishes = [wish for wish in _read_wishes() if version == WRITTEN_VERSION or wish.is_good]
    with tempfile.TemporaryDirectory(prefix="bcl-kit-") as work:
        town = Town.generate(
            Path(work) / "state", residents=RESIDENTS, seed=SEED, start_on=start_on
        )
        made = Path(work) / "made"
        try:
            _write_all(town, made, wishes)
            _write_cases(folder, town)
        finally:
            town.close()
        expected = [
            wish.expected
            for wish in wishes
            if _place(made / wish.name, folder / wish.expected.sample, version)
        ]
    write_expectations(folder / EXPECTATIONS, expected)
    for each in expected:
        if not each.is_met_by(validate_path(folder / each.sample)):
            raise WrongSample(each.sample)
    return expected


def _read_wishes() -> Iterator[_Wish]:
    texts = all_defects()
    source = files("bcl_cli").joinpath("data", "interface_samples.csv")
    for row in csv.DictReader(source.read_text("utf-8").splitlines(), strict=True):
        defect, note = row["defect"], row["note_ja"]
        text = texts.get(defect, note)
        place = "cases" if defect else "good"
        yield _Wish(
            name=row["name"],
            mode=row["mode"],
            lane=row["lane"],
            files=tuple(row["files"].split()),
            defect=defect,
            expected=Expectation(
                sample=f"{place}/{row['name']}",
                ok=row["ok"] == "1",
                severity=row["severity"],
                code=row["code"],
                column=row["column"],
                text_ja=text,
                note_ja=note if note != text else "",
            ),
        )


def _write_all(town: Town, made: Path, wishes: list[_Wish]) -> None:
    """Write in the order in which a core system would: full, a day passes, urgent, differential.

    A spoiled export is not remembered as sent, so any number fit between two good ones.
    """
    by_mode: dict[str, list[_Wish]] = {"full": [], "differential": []}
    for wish in wishes:
        if not wish.defect.startswith("@"):
            by_mode[wish.mode].append(wish)
    for mode, group in by_mode.items():
        # Spoiled ones first: behind the good differential nothing is left to send.
        for wish in sorted(group, key=lambda each: (each.is_good, each.lane == "main")):
            result = town.export(
                made / "out", mode=mode, lane=wish.lane, files=wish.files or None,
                defect=wish.defect or None,
            )  # fmt: skip
            result.folder.rename(made / wish.name)
        if mode == "full":
            town.advance(1, at_least_one_of_each=True)
    for wish in wishes:
        if wish.defect == _LIFTING:
            _lift(made / "urgent", made / wish.name)
        elif wish.defect == _AS_URGENT:
            _call_urgent(made / "differential", made / wish.name, wish.files)


def _lift(source: Path, target: Path) -> None:
    """An urgent export whose first certificate link is valid, so it restricts nobody."""
    shutil.copytree(source, target)
    (path,) = target.glob("*_J05_D.csv")
    table = Table("J05", path.read_bytes())
    table.set(0, "link_status", "1")
    path.write_bytes(table.render())
    _retell(target, {path.name})


def _call_urgent(source: Path, target: Path, file_ids: tuple[str, ...]) -> None:
    """Files of an ordinary differential in an export that calls itself urgent."""
    target.mkdir()
    names = {path.name for path in source.glob("*.csv") if path.name.split("_")[1] in file_ids}
    for name in (*names, "READY"):
        shutil.copyfile(source / name, target / name)
    _retell(target, names, lane="urgent", only=names)


def _retell(folder: Path, changed: set[str], only: set[str] | None = None, **facts: str) -> None:
    """Let READY say the truth about changed files again; `only` leaves the others out."""
    path = folder / "READY"
    ready = json.loads(path.read_text("utf-8")) | facts
    ready["files"] = [file for file in ready["files"] if only is None or file["name"] in only]
    for file in ready["files"]:
        if file["name"] in changed:
            content = (folder / file["name"]).read_bytes()
            file |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    path.write_text(json.dumps(ready, ensure_ascii=False, indent=1), encoding="utf-8")


def _place(made: Path, target: Path, version: str) -> bool:
    """Put a sample where it belongs; says whether there is one in this version."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if version == WRITTEN_VERSION:
        shutil.copytree(made, target)
        return True
    found = convert_path(made, target, from_version=WRITTEN_VERSION, to_version=version)
    return not isinstance(found, Refusal)


def _write_cases(folder: Path, town: Town) -> None:
    """`edge_cases.csv`: which persons of the good samples are which edge case."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "edge_cases.csv").open("w", encoding="utf-8-sig", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(("例", "内容", "宛名番号", "世帯番号"))
        for case in town.cases():
            people = case["addressee_numbers"]
            writer.writerow((
                case["id"], case["description_ja"],
                " ".join(people) if isinstance(people, list) else "", case["household_number"],
            ))  # fmt: skip
