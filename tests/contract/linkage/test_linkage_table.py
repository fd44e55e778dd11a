"""The table reader: canonical whatever comes in, and the line of whatever can't be read."""

from __future__ import annotations

import csv
import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcl_contract.linkage.layouts import load_interface
from bcl_contract.linkage.table import CanonicalWriter, TableFault, iter_chunks, write_rows

J07 = load_interface().files["J07"]
HEADER = ",".join(f'"{column.title_ja}"' for column in J07.columns)
GOOD = [
    ["999997", f"{n:015}", "123456789018", "", "0", "OP1", "2026-11-20", "12:34:56"]
    for n in range(1, 6)
]


def write(rows, *, header=HEADER, end="\r\n", quoting=csv.QUOTE_ALL) -> bytes:
    out = io.StringIO()
    csv.writer(out, quoting=quoting, lineterminator=end).writerows(rows)
    return (header + end + out.getvalue()).encode()


def read(data: bytes, **options):
    reader = iter_chunks(io.BytesIO(data), J07, **options)
    chunks = list(reader)
    return reader, chunks


def fault_of(data: bytes, **options) -> tuple[int | None, str]:
    with pytest.raises(TableFault) as caught:
        read(data, **options)
    assert "123456789018" not in str(caught.value)
    finding = caught.value.findings[-1]
    assert finding.severity == "fatal"
    return finding.line, finding.code


CANONICAL = write(GOOD)
BODY = CANONICAL.partition(b"\r\n")[2]


@pytest.mark.requirement("R-010")
@pytest.mark.parametrize(
    "data",
    [
        CANONICAL,
        write(GOOD, end="\n"),
        write(GOOD, quoting=csv.QUOTE_MINIMAL, header=HEADER.replace('"', "")),
        write(GOOD, quoting=csv.QUOTE_MINIMAL, end="\n"),
        b"\xef\xbb\xbf" + CANONICAL,
        CANONICAL.removesuffix(b"\r\n"),
        CANONICAL.replace(b"\r\n", b"\n", 3),  # mixed line ends
    ],
    ids=["canonical", "lf", "bare", "bare-lf", "bom", "no-last-line-end", "mixed"],
)
@pytest.mark.parametrize("chunk_bytes", [1, 100, 250, 1 << 20])
def test_iter_chunks__any_legal_form__becomes_canonical(data, chunk_bytes):
    reader, chunks = read(data, chunk_bytes=chunk_bytes)
    assert b"".join(chunk.canonical for chunk in chunks) == BODY
    assert reader.rows == len(GOOD)
    assert [c.first_line for c in chunks] == list(
        np.cumsum([2, *(c.rows for c in chunks)])[: len(chunks)]
    )
    bom = data.startswith(b"\xef\xbb\xbf")
    assert [f.code for f in reader.findings] == (["LINKAGE_BOM"] if bom else [])


@pytest.mark.requirement("R-010")
@pytest.mark.parametrize(
    ("change", "line", "code"),
    [
        (lambda d: d.decode().encode("utf-16"), 1, "LINKAGE_UTF16"),
        (lambda d: d.decode().encode("utf-16-le"), 1, "LINKAGE_UTF16"),
        (lambda d: d.decode().encode("cp932"), 1, "LINKAGE_CP932"),
        (lambda d: d.replace(b"OP1", "担当".encode("cp932"), 1), 2, "LINKAGE_CP932"),
        (lambda d: d.replace(b"OP1", b"\xed\xa0\x80", 1), 2, "LINKAGE_ENCODING"),
        (lambda d: d.replace(b"OP1", b"\xc0\xaf", 1), 2, "LINKAGE_ENCODING"),
        (lambda d: d.replace(b"OP1", b"\xff\xfe"), 2, "LINKAGE_ENCODING"),
        (lambda d: d.replace(b"OP1", b"O\0P"), 2, "LINKAGE_NUL"),
        (lambda d: b"", 1, "LINKAGE_HEADER_MISSING"),
        (lambda d: b"\r\n", 1, "LINKAGE_HEADER_MISSING"),
        (lambda d: d.partition(b"\n")[2], 1, "LINKAGE_HEADER_MISSING"),
        (
            lambda d: d.replace("市区町村コード".encode(), "宛名番号".encode(), 1),
            1,
            "LINKAGE_HEADER_DUPLICATE",
        ),
        (
            lambda d: d.replace('"市区町村コード","宛名番号"'.encode(),
                                '"宛名番号","市区町村コード"'.encode(), 1),
            1,
            "LINKAGE_HEADER_ORDER",
        ),
        (
            lambda d: d.replace("宛名番号".encode(), "宛名".encode(), 1),
            1,
            "LINKAGE_HEADER_UNKNOWN",
        ),
        (lambda d: d.replace(b',"12:34:56"', b"", 1), 2, "LINKAGE_COLUMN_COUNT"),
        (lambda d: d.replace(b'"12:34:56"', b'"12:34:56",""', 1), 2, "LINKAGE_COLUMN_COUNT"),
        (
            lambda d: d.replace(b'"OP1","2026-11-20"', b'"OP1"', 1)
            .replace(b"12:34:56\"\r\n\"999997\",\"000000000000003", b'","","'),
            2,
            "LINKAGE_COLUMN_COUNT",
        ),
        (lambda d: d.replace(b"\r\n", b"\r\n\r\n", 1), 2, "LINKAGE_BLANK_LINE"),
        (lambda d: d + b"\r\n", 7, "LINKAGE_BLANK_LINE"),
        (lambda d: d.replace(b"\r\n", b"\r"), 1, "LINKAGE_CR_ONLY"),
        (lambda d: d.replace(b"OP1", b"O\r\nP", 1), 2, "LINKAGE_NEWLINE_IN_VALUE"),
        (lambda d: d.replace(b"OP1", b"O\nP"), 2, "LINKAGE_NEWLINE_IN_VALUE"),
        (lambda d: d.replace(b"OP1", b"O\rP", 1), 2, "LINKAGE_NEWLINE_IN_VALUE"),
        (lambda d: d.replace(b'"OP1"', b'"OP1', 1), 2, "LINKAGE_UNCLOSED_QUOTE"),
        (lambda d: d.replace(b'"OP1"', b'"O"P1"', 1), 2, "LINKAGE_UNCLOSED_QUOTE"),
        (lambda d: d.replace(b'"OP1"', b'"O"P"1"', 1), 2, "LINKAGE_QUOTE"),
        (lambda d: d.replace(b'"OP1"', b'O"P"1', 1), 2, "LINKAGE_QUOTE"),
        (lambda d: d.replace(b'"OP1"', b' "OP1"', 1), 2, "LINKAGE_QUOTE"),
        (lambda d: d.replace(b'"OP1"', b'"OP1" ', 1), 2, "LINKAGE_QUOTE"),
        (lambda d: d[:-20], 6, "LINKAGE_TRUNCATED"),
        (lambda d: d[:-3], 6, "LINKAGE_TRUNCATED"),
        (lambda d: d.replace(b"OP1", b"A" * (2 << 20), 1), 2, "LINKAGE_ROW_TOO_LONG"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("chunk_bytes", [120, 1 << 20])
def test_iter_chunks__a_broken_structure__stops_with_its_line_and_code(
    change, line, code, chunk_bytes
):
    assert fault_of(change(CANONICAL), chunk_bytes=chunk_bytes) == (line, code)


def test_iter_chunks__only_a_header__gives_no_chunk():
    reader, chunks = read(J07.header_line)
    assert (chunks, reader.rows) == ([], 0)


def test_iter_chunks__columns_shifted_between_two_rows__is_not_taken_for_canonical():
    """Counts agree over the file (one row has a field more, the next one less)."""
    rows = [[*GOOD[0], "extra"], GOOD[1][:-1], *GOOD[2:]]
    assert fault_of(write(rows)) == (2, "LINKAGE_COLUMN_COUNT")


FIELD = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\n\0", exclude_categories=("Cs",)),
    max_size=12,
)
ROWS = st.lists(
    st.lists(st.one_of(st.just(""), st.sampled_from(['"', '""', '","', ","]), FIELD),
             min_size=8, max_size=8),
    min_size=1, max_size=12,
)  # fmt: skip


def test_iter_chunks__small_chunks__really_split_the_table():
    _, chunks = read(CANONICAL, chunk_bytes=150)
    assert [chunk.rows for chunk in chunks] == [1, 1, 1, 1, 1]
    assert [chunk.first_line for chunk in chunks] == [2, 3, 4, 5, 6]
    _, chunks = read(CANONICAL, chunk_bytes=1)
    assert [chunk.rows for chunk in chunks] == [1, 1, 1, 1, 1]


@pytest.mark.requirement("R-010")
@settings(max_examples=300, deadline=None)
@given(rows=ROWS, chunk_bytes=st.integers(1, 400), quoting=st.sampled_from([0, 1]),
       end=st.sampled_from(["\r\n", "\n"]))  # fmt: skip
def test_iter_chunks__any_values__come_back_exactly(rows, chunk_bytes, quoting, end):
    """Against the csv module: what it wrote we read, in values, positions and frames."""
    reader, chunks = read(write(rows, quoting=quoting, end=end), chunk_bytes=chunk_bytes)
    assert reader.rows == len(rows)
    names = J07.names
    values = [[c.value(r, n) for n in names] for c in chunks for r in range(c.rows)]
    assert values == rows
    for chunk in chunks:
        lines = [chunk.canonical[a:b] for a, b in pairwise(chunk.offsets)]
        assert b"".join(lines) == chunk.canonical
        assert all(line.startswith(b'"') and line.endswith(b'"\r\n') for line in lines)
        frame = chunk.frame()
        expected = [[v or None for v in rows[chunk.first_line - 2 + r]] for r in range(chunk.rows)]
        assert [list(row) for row in frame.rows()] == expected
        for index, name in enumerate(names):
            column = [rows[chunk.first_line - 2 + r][index].encode() for r in range(chunk.rows)]
            assert chunk.fixed(name, 48).tolist() == [v[:48].rstrip(b"\0") for v in column]
            assert chunk.fixed(name, 4).tolist() == [v[:4].rstrip(b"\0") for v in column]
            part = np.arange(0, chunk.rows, 2)
            assert chunk.fixed(name, 7, part).tolist() == [v[:7].rstrip(b"\0") for v in column[::2]]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_iter_chunks__any_bytes__give_rows_or_a_table_fault(data):
    """Random cuts and insertions never raise anything else and never lose a line silently."""
    base = bytearray(CANONICAL)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(len(HEADER.encode()) + 2, len(base)))
        base[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.sampled_from([b'"', b",", b"\r\n", b"\n", b"\r", b"\xe3", b"\0", b'""', b"x"])
        )
    changed = bytes(base)
    try:
        chunk_bytes = data.draw(st.sampled_from([64, 300, 1 << 16]))
        _, chunks = read(changed, chunk_bytes=chunk_bytes)
    except TableFault as fault:
        assert fault.findings[-1].line is not None
        return
    text = changed.decode()
    expected = list(csv.reader(io.StringIO(text, newline=""), strict=True))[1:]
    got = [[c.value(r, n) for n in J07.names] for c in chunks for r in range(c.rows)]
    assert got == expected


@pytest.mark.requirement("R-010")
def test_canonical_writer__rows__are_what_the_reader_calls_canonical():
    out = io.BytesIO()
    rows = [["999997", '1"2', None, "", "0", "a,b", "", ""]]
    assert write_rows(out, J07, rows) == 1
    _, chunks = read(out.getvalue())
    assert out.getvalue() == J07.header_line + chunks[0].canonical
    assert chunks[0].value(0, "addressee_number") == '1"2'


def test_canonical_writer__line_end_in_a_value_or_wrong_count__raises():
    writer = CanonicalWriter(io.BytesIO(), J07)
    with pytest.raises(ValueError, match="line end"):
        writer.write_row(["a\nb", *[""] * 7])
    with pytest.raises(ValueError, match="number of values"):
        writer.write_row([""])
