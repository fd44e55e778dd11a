"""The specification as a spreadsheet (XlsxWriter): cover, files, columns, codes, checks, changes.

Not imported by anything that runs in a town hall: the gateway's wheel has no XlsxWriter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC
from pathlib import Path

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.workbook import Workbook
from xlsxwriter.worksheet import Worksheet

from bcl_contract.linkage import specification as words
from bcl_contract.linkage.catalog import InterfaceVersion
from bcl_contract.linkage.changes import Change
from bcl_contract.linkage.layouts import Interface

Cell = str | int | None
_FONT = "Yu Gothic"


class _Book:
    """A workbook with the few formats that all its sheets share."""

    def __init__(self, book: Workbook, title: str) -> None:
        self.book, self.title = book, title
        base = {"font_name": _FONT, "font_size": 10, "valign": "top"}
        self.plain = self._format(base | {"border": 1, "border_color": "#CCCCCC"})
        self.wrapped = self._format(
            base | {"border": 1, "border_color": "#CCCCCC", "text_wrap": True}
        )
        self.head = self._format(
            base | {"bold": True, "bg_color": "#E8F1FE", "border": 1, "border_color": "#949494",
                    "text_wrap": True, "valign": "vcenter"}
        )  # fmt: skip
        self.big = self._format({"font_name": _FONT, "font_size": 18, "bold": True})
        self.text = self._format(base | {"text_wrap": True})

    def _format(self, properties: dict[str, object]) -> Format:
        made: Format = self.book.add_format(properties)
        return made

    def sheet(self, name: str) -> Worksheet:
        """A sheet that prints on A4 landscape, one page wide, with its title and page below."""
        sheet: Worksheet = self.book.add_worksheet(name)
        sheet.set_landscape()
        sheet.set_paper(9)
        sheet.fit_to_pages(1, 0)
        sheet.set_margins(left=0.5, right=0.5, top=0.5, bottom=0.7)
        sheet.set_footer(f"&L&8{self.title}　{name}&R&8&P / &N")
        sheet.hide_gridlines(2)
        return sheet

    def listing(
        self, name: str, head: Sequence[tuple[str, float]], rows: Iterable[Sequence[Cell]]
    ) -> None:
        """A sheet with one table: frozen heading, filter, heading repeated in print."""
        sheet = self.sheet(name)
        for place, (title, width) in enumerate(head):
            sheet.set_column(place, place, width)
            sheet.write_string(0, place, title, self.head)
        last = 0
        for last, row in enumerate(rows, start=1):
            for place, cell in enumerate(row):
                _write(sheet, last, place, cell, self.wrapped)
        sheet.freeze_panes(1, 0)
        sheet.repeat_rows(0)
        sheet.autofilter(0, 0, last, len(head) - 1)


def _write(sheet: Worksheet, row: int, column: int, cell: Cell, kind: Format) -> None:
    """Texts stay texts: a code such as 01 must not become a number, "=" no formula."""
    if cell is None or cell == "":
        sheet.write_blank(row, column, None, kind)
    elif isinstance(cell, int):
        sheet.write_number(row, column, cell, kind)
    else:
        sheet.write_string(row, column, cell, kind)


def write_sheet(
    target: Path,
    interface: Interface,
    version: InterfaceVersion,
    *,
    changes: Sequence[Change] = (),
) -> None:
    """Write the workbook; the same version gives the same bytes."""
    title = f"BCL データ連携インタフェース仕様書 第{version.version}版"
    with xlsxwriter.Workbook(str(target), {"strings_to_formulas": False}) as book:
        book.set_properties(
            {"title": title, "author": "BCL",
             "created": version.published_at.astimezone(UTC).replace(tzinfo=None)}
        )  # fmt: skip
        made = _Book(book, title)
        _cover(made, version)
        _files(made, interface)
        _columns(made, interface)
        _codes(made, interface)
        _checks(made)
        if changes:
            _changes(made, changes)


def _cover(made: _Book, version: InterfaceVersion) -> None:
    sheet = made.sheet("表紙")
    sheet.set_column(0, 0, 14)
    sheet.set_column(1, 1, 110)
    sheet.write_string(0, 0, made.title, made.big)
    sheet.write_string(1, 0, version.summary_ja, made.text)
    row = 3
    for label, text in words.date_rows(version):
        sheet.write_string(row, 0, label, made.head)
        sheet.write_string(row, 1, text, made.wrapped)
        row += 1
    row += 1
    sheet.write_string(row, 0, "ファイルの決まり", made.head)
    for rule in words.FILE_RULES:
        sheet.write_string(row, 1, rule, made.wrapped)
        row += 1


def _files(made: _Book, interface: Interface) -> None:
    head = (("種類", 7), ("ファイル", 34), ("英名", 28), ("項目数", 8), ("キー", 60),
            ("緊急の送信の条件", 60))  # fmt: skip
    rows = (
        (
            layout.file_id, layout.title_ja, layout.name, len(layout.columns),
            "・".join(column.title_ja for column in layout.key_columns),
            words.explain_condition(layout.urgent_condition, layout),
        )
        for layout in interface.files.values()
    )  # fmt: skip
    made.listing("ファイル", head, rows)


def _columns(made: _Book, interface: Interface) -> None:
    head = (("種類", 7), ("番号", 7), ("項目名", 38), ("英名", 42), ("型", 20), ("桁", 6),
            ("必須", 6), ("条件", 50), ("キー", 6), ("コード", 28), ("区分", 12),
            ("利用", 36), ("緊急", 6))  # fmt: skip
    rows = (
        (
            layout.file_id, column.position, column.title_ja, column.name,
            words.TYPE_TEXTS[column.type], column.length, words.REQUIRED_TEXTS[column.required],
            words.explain_condition(column.condition, layout), column.key_order,
            column.code_list, words.SENSITIVITY_TEXTS[column.sensitivity],
            "・".join(words.PROFILE_TEXTS[profile] for profile in column.profiles),
            "可" if column.urgent else "",
        )
        for layout in interface.files.values()
        for column in layout.columns
    )  # fmt: skip
    made.listing("項目", head, rows)


def _codes(made: _Book, interface: Interface) -> None:
    head = (("コード一覧", 30), ("コード", 10), ("意味", 50), ("英名", 40), ("値の限定", 26))
    rows = []
    for codes in interface.code_lists.values():
        kind = "この値だけ" if codes.closed else "団体の対応表で増やせます"
        for code, label in codes.values.items():
            rows.append((codes.name, code, label, codes.labels_en[code], kind))
        if not codes.values:
            rows.append((codes.name, "", "団体の対応表で定めます", "", kind))
    made.listing("コード", head, rows)


def _checks(made: _Book) -> None:
    head = (("程度", 32), ("指摘", 64), ("直せる方", 30), ("直し方", 64), ("コード", 36))
    rows = (
        (words.SEVERITY_TEXTS[text.severity], text.text_ja, text.who_can_fix_ja, text.how_ja,
         text.code)
        for text in words.list_checks()
    )  # fmt: skip
    made.listing("検査", head, rows)


def _changes(made: _Book, changes: Sequence[Change]) -> None:
    head = (("対応", 12), ("場所", 44), ("名前", 40), ("変更", 26), ("前", 36), ("後", 36))
    rows = (
        ("対応が必要" if change.must_act else "", change.place, change.title_ja, change.what_ja,
         change.before, change.after)
        for change in changes
    )  # fmt: skip
    made.listing("変更点", head, rows)
