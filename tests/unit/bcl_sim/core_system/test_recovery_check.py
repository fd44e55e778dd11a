"""The core system reads a recovery export back and compares it with its own truth."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import pytest

from bcl_sim.core_system.recovery_check import digest, read_lines
from bcl_sim.core_system.tables import layouts
from bcl_sim.core_system.town import Town


def _zip(folder: Path, target: Path, **changed: bytes | None) -> Path:
    """A zip of an export folder with some members replaced (None leaves them out)."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_dir() or name == "READY":
                continue
            file_id = name.split("_")[1] if name.endswith(".csv") else "image"
            content = changed.get(file_id, path.read_bytes())
            if content is not None:
                archive.writestr(name, content)
    return target


@pytest.mark.requirement("R-031")
def test_compare__equal_export__is_equal(
    sample_town: Town, sample_export: Path, tmp_path: Path
) -> None:
    for source in (sample_export, _zip(sample_export, tmp_path / "r.zip")):
        result = sample_town.compare_recovery(source)
        assert result.equal
        assert sum(file.found for file in result.files) > 10_000


def test_compare__other_quoting_and_order__is_still_equal(
    sample_town: Town, sample_export: Path, tmp_path: Path
) -> None:
    text = next(sample_export.glob("*_J01_*")).read_bytes().decode("utf-8")
    lines = list(csv.reader(io.StringIO(text, newline="")))
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([lines[0], *reversed(lines[1:])])
    source = _zip(sample_export, tmp_path / "r.zip", J01=out.getvalue().encode())
    assert sample_town.compare_recovery(source).equal


def test_compare__one_value_differs__names_key_and_column(
    sample_town: Town, sample_export: Path, tmp_path: Path
) -> None:
    content = next(sample_export.glob("*_J05_*")).read_bytes()
    source = _zip(sample_export, tmp_path / "r.zip", J05=content.replace(b'"1","', b'"2","', 1))
    result = sample_town.compare_recovery(source)
    assert not result.equal
    (wrong,) = [file for file in result.files if not file.equal]
    assert (wrong.file_id, wrong.missing, wrong.surplus) == ("J05", 1, 1)
    assert len(wrong.differing) == 1 and len(wrong.differing[0][1]) == 1


def test_compare__row_gone_row_doubled_file_gone_image_gone__is_not_equal(
    sample_town: Town, sample_export: Path, tmp_path: Path
) -> None:
    lines = next(sample_export.glob("*_J04_*")).read_bytes().split(b"\r\n")
    gone = _zip(sample_export, tmp_path / "1.zip", J04=b"\r\n".join([lines[0], *lines[2:]]))
    assert [f.missing for f in sample_town.compare_recovery(gone).files if not f.equal] == [1]
    doubled = b"\r\n".join([lines[0], lines[1], *lines[1:]])
    double = _zip(sample_export, tmp_path / "2.zip", J04=doubled)
    assert [f.surplus for f in sample_town.compare_recovery(double).files if not f.equal] == [1]
    absent = _zip(sample_export, tmp_path / "3.zip", J02=None)
    wrong = [f for f in sample_town.compare_recovery(absent).files if not f.equal]
    assert [(f.file_id, f.found) for f in wrong] == [("J02", 0)]
    images = sample_town.compare_recovery(_zip(sample_export, tmp_path / "4.zip", image=b"x"))
    assert images.images_missing > 10 and not images.equal


def test_compare__wrong_header__raises(
    sample_town: Town, sample_export: Path, tmp_path: Path
) -> None:
    content = next(sample_export.glob("*_J06_*")).read_bytes().replace("抑止番号".encode(), b"x", 1)
    with pytest.raises(ValueError, match="J06: header"):
        sample_town.compare_recovery(_zip(sample_export, tmp_path / "r.zip", J06=content))


def test_compare__as_of_an_earlier_export__is_that_truth(living_town: Town, tmp_path: Path) -> None:
    folder = living_town.export(tmp_path / "out").folder
    living_town.advance(1, at_least_one_of_each=True)
    assert not living_town.compare_recovery(folder).equal
    assert living_town.compare_recovery(folder, export_number=1).equal


@pytest.mark.parametrize("value", ['a"b', 'x","y', "一行目\n二行目", '"', '","', ""])
def test_read_lines__any_legal_writing__gives_the_same_canonical_line(value: str) -> None:
    layout = layouts()["J04"]
    row = [value, *["z"] * (len(layout.titles) - 1)]
    texts = []
    for quoting, end in ((csv.QUOTE_ALL, "\r\n"), (csv.QUOTE_MINIMAL, "\n")):
        out = io.StringIO(newline="")
        csv.writer(out, quoting=quoting, lineterminator=end).writerows([layout.titles, row, row])
        texts.append(list(read_lines(io.BytesIO(out.getvalue().encode()), "J04")))
    assert texts[0] == texts[1] and len(texts[0]) == 2
    assert next(csv.reader(io.StringIO(texts[0][0].decode(), newline=""))) == row


def test_digest__order_does_not_matter__content_does() -> None:
    rows = [b"a", b"b", b"c"]
    assert (digest(rows) == digest(reversed(rows))).all()
    assert not (digest(rows) == digest([b"a", b"b", b"d"])).all()
