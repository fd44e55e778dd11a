"""Cells of an export: no spreadsheet takes one for a formula, and every text comes back."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bcl.oversight.csv_cells import original_cell, safe_cell
from bcl.oversight.export_file import CountedRows, Watermark, write_rows

pytestmark = pytest.mark.requirement("R-175")
# Whatever may stand in a register, line ends too; a surrogate alone is no text.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
STARTS = st.sampled_from(["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", " =", "'="])
MARK = Watermark("999997-7", "clerk-1/approver-1", "2026-11-24T10:00:00+09:00", "A" * 16)


@given(st.one_of(TEXTS, st.builds(str.__add__, STARTS, TEXTS)))
@example("=HYPERLINK(\"http://x\",\"y\")")
@example("'")
@example("")
def test_cell__any_text__comes_back_and_starts_no_formula(text: str) -> None:
    cell = safe_cell(text)
    assert original_cell(cell) == text
    assert cell.lstrip(" \u3000")[:1] not in {*"=+-@\t\r\n", *"＝＋－＠"} or cell == ""


@pytest.mark.parametrize("text", ["=1+1", "+81", "-2", "@SUM(A1)", "\t=1", "＝１", "\u200b=1"])
def test_cell__that_would_run__is_marked(text: str) -> None:
    assert safe_cell(text) == "'" + text


@given(st.lists(st.fixed_dictionaries({"name": TEXTS, "no": TEXTS}), max_size=20))
def test_file__any_rows__reads_back_whole_with_the_mark_in_each(rows) -> None:
    target, counted = io.BytesIO(), CountedRows(["no", "name"])
    titles = {"no": "番号", "name": "氏名"}
    write_rows(target, rows, counted, titles=titles, mark=MARK, progress=lambda _: None)
    text = target.getvalue().decode("utf-8-sig")
    (header, *lines) = csv.reader(io.StringIO(text, newline=""))
    assert header[:2] == ["番号", "氏名"] and len(lines) == counted.rows == len(rows)
    for number, (line, row) in enumerate(zip(lines, rows, strict=True), start=1):
        assert [original_cell(cell) for cell in line[:2]] == [row["no"], row["name"]]
        assert line[2:] == MARK.cells(number) and line[-1].startswith("A" * 16 + "-")


@given(st.lists(TEXTS, max_size=5), st.lists(TEXTS, max_size=5))
def test_digest__of_other_rows__is_another(first, second) -> None:
    digests = []
    for texts in (first, second):
        counted = CountedRows(["name"])
        for text in texts:
            counted.add({"name": text})
        digests.append(counted.digest())
    assert (digests[0] == digests[1]) is (first == second)
