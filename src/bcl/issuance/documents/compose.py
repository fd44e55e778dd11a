"""Composing a certificate of any kind: definition and records in, page model out. Pure.

What may be left out and what may not stands in the kind's definition; how each value is written
in `items.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bcl.issuance.documents.items import Incomplete, Subject, address_of, item_of, value_of
from bcl.issuance.documents.model import (
    LABEL,
    Align,
    Box,
    Fit,
    Image,
    Line,
    Page,
    PageModel,
    Text,
)
from bcl.issuance.kinds import KindDefinition
from bcl.issuance.kinds.layout import Block, Cell
from bcl.issuance.records import (
    Certifier,
    CopyOptions,
    Edition,
    HouseholdRecord,
    Marks,
    PersonRecord,
    Records,
    Scope,
    TaxYearRecord,
)
from bcl_contract.refusals import Refusal
from bcl_contract.values import format_wareki

_MM_PER_INCH = 25.4
_HOUSEHOLD = "household."


def compose(
    records: Records,
    applicant: str,
    *,
    options: CopyOptions,
    definition: KindDefinition,
    marks: Marks,
    certifier: Certifier,
    edition: Edition,
) -> PageModel | Refusal:
    """Fill a kind's layout with the chosen members of one household.

    `applicant` is the addressee number of the holder of the card, who must be a member.
    Refuses with ISSUE_MEMBER_NOT_IN_HOUSEHOLD, ISSUE_RECORD_INCOMPLETE (detail: field) and, for
    an imprint that is larger than its frame, ISSUE_LAYOUT_OVERFLOW.
    """
    members = chosen_members(records.household, applicant, options)
    if isinstance(members, Refusal):
        return members
    if definition.layout.members is None and len(members) != 1:
        return Refusal("ISSUE_OPTION_NOT_ALLOWED")
    try:
        _check_that_all_is_printed(records.tax, definition)
        return _Composer(records, members, options, definition, marks, certifier, edition).model()
    except Incomplete as fault:
        return Refusal("ISSUE_RECORD_INCOMPLETE", {"field": str(fault)})
    except _TooLargeError as fault:
        return Refusal("ISSUE_LAYOUT_OVERFLOW", {"field": str(fault)})


def chosen_members(
    household: HouseholdRecord, applicant: str, options: CopyOptions
) -> tuple[PersonRecord, ...] | Refusal:
    """Give the members whose records are copied, in the order of the record."""
    wanted = {
        Scope.SELF: frozenset({applicant}),
        Scope.PART: options.selected | {applicant},
        Scope.HOUSEHOLD: frozenset(m.addressee_number for m in household.members),
    }[options.scope]
    members = tuple(m for m in household.members if m.addressee_number in wanted)
    if household.member(applicant) is None or len(members) != len(wanted):
        return Refusal("ISSUE_MEMBER_NOT_IN_HOUSEHOLD")
    return members


def sentence_of(definition: KindDefinition, certifier: Certifier, scope: Scope) -> str:
    """The words of certification (認証文): the town's own, else those of the definition."""
    own = certifier.sentences.get(f"{definition.code}.{scope.value}")
    return own or definition.sentences[scope.value]


class _TooLargeError(Exception):
    """A picture is larger than its frame at its true size, a list longer than its rows."""


def _check_that_all_is_printed(tax: TaxYearRecord | None, definition: KindDefinition) -> None:
    """Raise when the form has no cell for something it must show: nothing is left out silently."""
    printed = definition.layout.fields()
    if tax is None:
        return
    for listing in definition.complete_lists:
        for code, amount in tax.amounts[listing].items():
            if f"tax.{listing}.{code}" not in printed and int(amount or "0") != 0:
                raise Incomplete(f"tax.{listing}.{code}")
    rows = {name.split(".")[2] for name in printed if name.startswith("tax.payment.")}
    if rows and len(tax.payments) > len(rows):
        raise _TooLargeError("tax.payment")


@dataclass(slots=True)
class _Sheet:
    """A page while it is being filled; lives for one call of `compose` only."""

    texts: list[Text] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a table takes its values from, and of whom they speak."""

    value: Callable[[str], str]
    person: str = ""


@dataclass(frozen=True, slots=True)
class _Composer:
    records: Records
    members: tuple[PersonRecord, ...]
    options: CopyOptions
    definition: KindDefinition
    marks: Marks
    certifier: Certifier
    edition: Edition

    def model(self) -> PageModel:
        layout = self.definition.layout
        size = layout.members.per_page if layout.members else len(self.members)
        groups = [self.members[i : i + size] for i in range(0, len(self.members), size)]
        pages = tuple(
            self._page(group, number * size, number + 1, len(groups))
            for number, group in enumerate(groups)
        )
        return PageModel(
            title=layout.title,
            issue_number=self.edition.issue_number,
            layout_version=layout.version,
            width_mm=layout.width,
            height_mm=layout.height,
            persons=tuple(m.addressee_number for m in self.members),
            pages=pages,
        )

    def _page(self, group: tuple[PersonRecord, ...], offset: int, number: int, total: int) -> Page:
        layout = self.definition.layout
        sheet = _Sheet()
        sheet.texts += [
            self._text("title", layout.title),
            self._text("page_number", f"{number}/{total}"),
            self._text(
                "issue_number", f"{layout.phrases['issue_number']} {self.edition.issue_number}"
            ),
        ]
        for note in layout.notes:
            place = note.place
            sheet.texts.append(
                Text(LABEL, note.text, place.box, place.size_pt, place.align, Fit.SHRINK)
            )
        top = self._blocks(sheet, group, offset)
        if number < total:
            sheet.texts.append(self._text("continued", layout.phrases["continued"]))
        else:
            sheet.texts.append(self._below(top))
            self._certification(sheet)
        return Page(tuple(sheet.texts), _joined(sheet.lines), tuple(sheet.images))

    def _blocks(self, sheet: _Sheet, group: tuple[PersonRecord, ...], offset: int) -> float:
        """Draw the tables, the imprint and the members; gives where the last one ends, mm."""
        layout, bottom = self.definition.layout, 0.0
        for table in layout.tables:
            self._table(sheet, table.block, table.top, self._source(self.members[0], table.block))
            bottom = max(bottom, table.top + table.block.height)
        if layout.imprint is not None:
            self._imprint(sheet, layout.imprint)
            bottom = max(bottom, layout.imprint.bottom)
        if layout.members is not None:
            bottom = layout.members.top
            for index, person in enumerate(group):
                block = layout.members.blocks["foreign" if person.is_foreign else "japanese"]
                self._member(sheet, block, bottom, person, offset + index + 1)
                bottom += block.height
        return bottom

    def _text(self, name: str, value: str) -> Text:
        place = self.definition.layout.places[name]
        return Text(name, value, place.box, place.size_pt, place.align, Fit.SHRINK)

    def _below(self, top: float) -> Text:
        # Right under the last cell, wherever that is: nothing can be written in between.
        place = self.definition.layout.places["blank_below"]
        box = Box(place.box.x, top + 0.5, place.box.width, place.box.height)
        value = self.definition.layout.phrases["blank_below"]
        return Text("blank_below", value, box, place.size_pt, place.align, Fit.FIXED)

    def _certification(self, sheet: _Sheet) -> None:
        certifier = self.certifier
        sheet.texts += [
            self._text("sentence", sentence_of(self.definition, certifier, self.options.scope)),
            self._text("issued_on", format_wareki(self.edition.issued_on)),
            self._text("certifier", f"{certifier.head_title}　{certifier.name}"),
        ]
        place, side = self.definition.layout.places["seal"].box, certifier.seal_side_mm
        sheet.images.append(Image("seal", certifier.seal_png, _centred(place, side, side)))

    def _imprint(self, sheet: _Sheet, frame: Box) -> None:
        """Put the registered imprint into its frame at its true size (domain 4.3)."""
        seal = self.records.seal
        if seal is None or seal.png is None:
            raise Incomplete("seal.imprint")
        try:
            dots = int(seal.image["image_dots_per_inch"])
            width = int(seal.image["image_width_pixels"]) / dots * _MM_PER_INCH
            height = int(seal.image["image_height_pixels"]) / dots * _MM_PER_INCH
        except (KeyError, ValueError, ZeroDivisionError):
            raise Incomplete("seal.imprint") from None
        if width > frame.width or height > frame.height:
            raise _TooLargeError("seal.imprint")
        sheet.images.append(Image("imprint", seal.png, _centred(frame, width, height)))
        for x in (frame.x, frame.right):
            sheet.lines.append(self._rule(x, frame.y, x, frame.bottom, thick=True))
        for y in (frame.y, frame.bottom):
            sheet.lines.append(self._rule(frame.x, y, frame.right, y, thick=True))

    def _source(self, person: PersonRecord, block: Block) -> _Source:
        """Who a table speaks of: the household, or the one person of a paper for one."""
        if all(name.startswith(_HOUSEHOLD) for name in block.fields):
            return _Source(self._household_value)
        return _Source(lambda name: self._item(name, person), person.addressee_number)

    def _household_value(self, name: str) -> str:
        first = self.members[0]
        if name == "household.head_name":
            if not self._is_shown(name):
                return self.marks.omitted
            # The same for all members (rule V03); a differing one holds the household.
            return first["head_of_household_name"] or self.marks.empty
        address = address_of("address")(Subject(first), self.definition.layout)
        if not address:
            raise Incomplete(name)
        return address

    def _is_shown(self, name: str) -> bool:
        option = self.definition.option_of(name)
        return option is None or option.name in self.options.shown

    def _item(self, name: str, person: PersonRecord) -> str:
        if not self._is_shown(name):
            return self.marks.omitted
        subject = Subject(person, self.records.seal, self.records.tax)
        value = value_of(name, subject, self.definition.layout)
        if not value and item_of(name).mandatory:
            raise Incomplete(name)
        return value or self.marks.empty

    def _member(
        self, sheet: _Sheet, block: Block, top: float, person: PersonRecord, number: int
    ) -> None:
        box = Box(self.definition.layout.left, top, block.number_width, block.height)
        size = self.definition.layout.label_pt
        sheet.texts.append(Text("number", str(number), box, size, Align.CENTER, Fit.FIXED))
        sheet.lines.append(self._rule(box.right, top, box.right, box.bottom, thick=False))
        source = _Source(lambda name: self._item(name, person), person.addressee_number)
        self._table(sheet, block, top, source)

    def _table(self, sheet: _Sheet, block: Block, top: float, source: _Source) -> None:
        left = self.definition.layout.left
        right = left + block.width
        y = top
        for index, row in enumerate(block.rows):
            x = left + block.number_width
            if index:
                sheet.lines.append(self._rule(x, y, right, y, thick=False))
            for cell in row.cells:
                self._cell(sheet, cell, Box(x, y, cell.label_width, row.height), source, right)
                x += cell.label_width + cell.width
            y += row.height
        for x in (left, right):
            sheet.lines.append(self._rule(x, top, x, y, thick=True))
        for edge in (top, y):
            sheet.lines.append(self._rule(left, edge, right, edge, thick=True))

    def _cell(self, sheet: _Sheet, cell: Cell, label: Box, source: _Source, right: float) -> None:
        size = self.definition.layout.label_pt
        if cell.label:
            # A heading stands over a column; a label is spread beside its value (均等割付).
            align = Align.SPREAD if cell.field else Align.CENTER
            sheet.texts.append(Text(LABEL, cell.label, label, size, align, Fit.SHRINK))
        box = Box(label.right, label.y, cell.width, label.height)
        if cell.field:
            value = source.value(cell.field)
            # A mark is no amount: it stands in the middle wherever the numbers stand.
            is_mark = value in (self.marks.empty, self.marks.omitted)
            align = Align.CENTER if is_mark and cell.align is Align.RIGHT else cell.align
            sheet.texts.append(
                Text(cell.field, value, box, cell.size_pt, align, person=source.person)
            )
        for edge in (label.right, box.right):
            if edge < right:
                sheet.lines.append(self._rule(edge, box.y, edge, box.bottom, thick=False))

    def _rule(self, x1: float, y1: float, x2: float, y2: float, *, thick: bool) -> Line:
        layout = self.definition.layout
        weight = layout.thick_pt if thick else layout.thin_pt
        return Line(round(x1, 3), round(y1, 3), round(x2, 3), round(y2, 3), weight)


def _centred(frame: Box, width: float, height: float) -> Box:
    return Box(
        frame.x + (frame.width - width) / 2,
        frame.y + (frame.height - height) / 2,
        width,
        height,
    )


def _joined(lines: list[Line]) -> tuple[Line, ...]:
    """Join rules that continue or double each other, row by row, into long ones."""
    groups: dict[tuple[bool, float, float], list[tuple[float, float]]] = {}
    for line in lines:
        upright = line.x1 == line.x2
        at = line.x1 if upright else line.y1
        span = (line.y1, line.y2) if upright else (line.x1, line.x2)
        groups.setdefault((upright, at, line.weight_pt), []).append(span)
    joined = []
    for (upright, at, weight), spans in groups.items():
        begin, end = min(spans)
        for first, last in [*sorted(spans), (float("inf"), float("inf"))]:
            if first <= end + 0.001:
                end = max(end, last)
                continue
            joined.append(
                Line(at, begin, at, end, weight) if upright else Line(begin, at, end, at, weight)
            )
            begin, end = first, last
    return tuple(joined)
