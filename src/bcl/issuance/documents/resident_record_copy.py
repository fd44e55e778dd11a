"""Composing the copy of a resident record (住民票の写し), 世帯連記式.

Pure: record, options, layout in; page model out. What may be left out and what may not follows
the Basic Resident Registration Act (住民基本台帳法) articles 7, 12 (5) and 30-45, listed in
`ITEMS`. Printed values are the ones the town wrote (表記); codes only decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bcl.issuance.documents.layout import Block, Cell, Layout
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
from bcl.issuance.records import (
    Certifier,
    CopyOptions,
    Edition,
    HouseholdRecord,
    Marks,
    PersonRecord,
    Scope,
)
from bcl_contract.refusals import Refusal
from bcl_contract.values import InvalidValue, PartialDate, format_wareki


@dataclass(frozen=True, slots=True)
class Item:
    """One printed item: where its value comes from and which choice shows it (None = always)."""

    write: Callable[[PersonRecord, Layout], str]
    option: str | None = None
    mandatory: bool = False


class _Incomplete(Exception):
    """The record can't be printed truthfully (an unknown date without its text, a new code)."""


def _column(name: str) -> Callable[[PersonRecord, Layout], str]:
    return lambda person, layout: person[name]


def _date(name: str, *, western_for_foreign: bool = False) -> Callable[[PersonRecord, Layout], str]:
    def write(person: PersonRecord, layout: Layout) -> str:
        value = PartialDate.of_columns(
            person[name], person[f"{name}_unknown"], person[f"{name}_as_written"]
        )
        return value.written(western=western_for_foreign and person.is_foreign)

    return write


def _address(prefix: str) -> Callable[[PersonRecord, Layout], str]:
    """Join the parts of an address as the two ways of splitting it need (domain 3.3)."""
    parts = ("prefecture", "municipality_name", "town", "lot_as_written")
    overseas = ("country_name", "overseas_address")

    def write(person: PersonRecord, layout: Layout) -> str:
        text = "".join(person[f"{prefix}_{part}"] for part in parts + overseas)
        building = person[f"{prefix}_building"]
        return f"{text}　{building}" if text and building else text + building

    return write


def _foreign_full_name(person: PersonRecord, layout: Layout) -> str:
    # A name in Roman letters comes first; where there is none the kanji name is the name.
    return person["full_name_roman"] or person["full_name_kanji"] or person["full_name"]


def _confirmed_kana(person: PersonRecord, layout: Layout) -> str:
    # Only a confirmed kana is an item of the record (法7条1号の2).
    return person["full_name_kana"] if person["full_name_kana_confirmation"] == "1" else ""


def _article_30_45_kind(person: PersonRecord, layout: Layout) -> str:
    code = person["article_30_45_kind"].lstrip("0")
    if code and code not in layout.article_30_45_kinds:
        raise _Incomplete("member.article_30_45_kind")
    return layout.article_30_45_kinds.get(code, "")


def _residence_period(person: PersonRecord, layout: Layout) -> str:
    if person["residence_period_as_written"]:
        return person["residence_period_as_written"]
    units = (("years", "年"), ("months", "月"), ("days", "日"))
    amounts = ((person[f"residence_period_{unit}"].lstrip("0"), sign) for unit, sign in units)
    return "".join(f"{amount}{sign}" for amount, sign in amounts if amount)


def _never(person: PersonRecord, layout: Layout) -> str:
    # The numbers are no part of the projection that issuing may read (R-065: off by default).
    raise _Incomplete("member.individual_number")


ITEMS: Mapping[str, Item] = {
    "member.full_name_kana": Item(_confirmed_kana),
    "member.full_name": Item(
        lambda p, layout: _foreign_full_name(p, layout) if p.is_foreign else p["full_name"],
        mandatory=True,
    ),
    "member.full_name_kanji": Item(_column("full_name_kanji")),
    "member.former_surname": Item(_column("former_surname")),
    "member.alias": Item(_column("alias")),
    "member.born_on": Item(_date("born_on", western_for_foreign=True), mandatory=True),
    "member.sex": Item(_column("sex_as_written")),
    "member.relationship": Item(
        _column("relationship_as_written"), option="relationship", mandatory=True
    ),
    "member.became_resident_on": Item(_date("became_resident_on"), mandatory=True),
    "member.became_foreign_resident_on": Item(_date("became_foreign_resident_on"), mandatory=True),
    "member.address_established_on": Item(_date("address_established_on")),
    "member.notified_on": Item(_date("address_established_notified_on")),
    "member.address_before_moving_in": Item(_address("address_before_moving_in")),
    "member.address_before_relocation": Item(_address("address_before_relocation")),
    "member.registered_domicile": Item(
        _column("registered_domicile"), option="registered_domicile"
    ),
    "member.family_register_head": Item(
        _column("family_register_head"), option="registered_domicile"
    ),
    "member.individual_number": Item(_never, option="individual_number"),
    "member.resident_record_code": Item(
        _column("resident_record_code"), option="resident_record_code"
    ),
    "member.nationality": Item(_column("nationality_name"), option="foreign_items", mandatory=True),
    "member.article_30_45_kind": Item(_article_30_45_kind, option="foreign_items", mandatory=True),
    "member.residence_status": Item(_column("residence_status_name"), option="foreign_items"),
    "member.residence_period": Item(_residence_period, option="foreign_items"),
    "member.residence_period_expires_on": Item(
        lambda p, layout: PartialDate.of_columns(p["residence_period_expires_on"], "", "").written(
            western=True
        ),
        option="foreign_items",
    ),
    "member.residence_card_number": Item(_column("residence_card_number"), option="foreign_items"),
    "member.remarks": Item(_column("resident_record_remarks")),
}


def compose(
    household: HouseholdRecord,
    applicant: str,
    *,
    options: CopyOptions,
    layout: Layout,
    marks: Marks,
    certifier: Certifier,
    edition: Edition,
) -> PageModel | Refusal:
    """Fill the layout with the chosen members of one household.

    `applicant` is the addressee number of the holder of the card, who must be a member.
    Refuses with ISSUE_MEMBER_NOT_IN_HOUSEHOLD and ISSUE_RECORD_INCOMPLETE (detail: field).
    """
    members = chosen_members(household, applicant, options)
    if isinstance(members, Refusal):
        return members
    try:
        composer = _Composer(household, members, options, layout, marks, certifier, edition)
        return composer.model()
    except _Incomplete as fault:
        return Refusal("ISSUE_RECORD_INCOMPLETE", {"field": str(fault)})


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


def value_of(item: str, person: PersonRecord, layout: Layout) -> str:
    """Write one item of one person as it is printed when shown; "" when there is none."""
    try:
        return ITEMS[item].write(person, layout)
    except InvalidValue:
        raise _Incomplete(item) from None


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
    household: HouseholdRecord
    members: tuple[PersonRecord, ...]
    options: CopyOptions
    layout: Layout
    marks: Marks
    certifier: Certifier
    edition: Edition

    def model(self) -> PageModel:
        size = self.layout.members_per_page
        groups = [self.members[i : i + size] for i in range(0, len(self.members), size)]
        pages = tuple(
            self._page(group, number * size, number + 1, len(groups))
            for number, group in enumerate(groups)
        )
        return PageModel(
            title=self.layout.title,
            issue_number=self.edition.issue_number,
            layout_version=self.layout.version,
            width_mm=self.layout.width,
            height_mm=self.layout.height,
            persons=tuple(m.addressee_number for m in self.members),
            pages=pages,
        )

    def _page(self, group: tuple[PersonRecord, ...], offset: int, number: int, total: int) -> Page:
        layout = self.layout
        sheet = _Sheet()
        sheet.texts += [
            self._text("title", layout.title),
            self._text("page_number", f"{number}/{total}"),
            self._text(
                "issue_number", f"{layout.phrases['issue_number']} {self.edition.issue_number}"
            ),
        ]
        self._table(sheet, layout.household, layout.household_top, _Source(self._household_value))
        top = layout.members_top
        for index, person in enumerate(group):
            block = layout.members["foreign" if person.is_foreign else "japanese"]
            self._member(sheet, block, top, person, offset + index + 1)
            top += block.height
        if number < total:
            sheet.texts.append(self._text("continued", layout.phrases["continued"]))
        else:
            sheet.texts.append(self._below(top))
            self._certification(sheet)
        return Page(tuple(sheet.texts), _joined(sheet.lines), tuple(sheet.images))

    def _text(self, name: str, value: str) -> Text:
        place = self.layout.places[name]
        return Text(name, value, place.box, place.size_pt, place.align, Fit.SHRINK)

    def _below(self, top: float) -> Text:
        # Right under the last member, wherever that is: nothing can be written in between.
        place = self.layout.places["blank_below"]
        box = Box(place.box.x, top + 0.5, place.box.width, place.box.height)
        value = self.layout.phrases["blank_below"]
        return Text("blank_below", value, box, place.size_pt, place.align, Fit.FIXED)

    def _certification(self, sheet: _Sheet) -> None:
        certifier = self.certifier
        whole = self.options.scope is Scope.HOUSEHOLD
        sentence = certifier.sentence_household if whole else certifier.sentence_part
        sheet.texts += [
            self._text("sentence", sentence),
            self._text("issued_on", format_wareki(self.edition.issued_on)),
            self._text("certifier", f"{certifier.head_title}　{certifier.name}"),
        ]
        place, side = self.layout.places["seal"].box, certifier.seal_side_mm
        x, y = place.x + (place.width - side) / 2, place.y + (place.height - side) / 2
        sheet.images.append(Image("seal", certifier.seal_png, Box(x, y, side, side)))

    def _household_value(self, field: str) -> str:
        first = self.members[0]
        if field == "household.head_name":
            if not self.options.relationship:
                return self.marks.omitted
            # The same for all members (rule V03); a differing one holds the household.
            return first["head_of_household_name"] or self.marks.empty
        address = _address("address")(first, self.layout)
        if not address:
            raise _Incomplete(field)
        return address

    def _member_value(self, field: str, person: PersonRecord) -> str:
        item = ITEMS[field]
        if item.option is not None and not getattr(self.options, item.option):
            return self.marks.omitted
        value = value_of(field, person, self.layout)
        if not value and item.mandatory:
            raise _Incomplete(field)
        return value or self.marks.empty

    def _member(
        self, sheet: _Sheet, block: Block, top: float, person: PersonRecord, number: int
    ) -> None:
        box = Box(self.layout.left, top, block.number_width, block.height)
        size = self.layout.label_pt
        sheet.texts.append(Text("number", str(number), box, size, Align.CENTER, Fit.FIXED))
        sheet.lines.append(self._rule(box.right, top, box.right, box.bottom, thick=False))
        source = _Source(lambda field: self._member_value(field, person), person.addressee_number)
        self._table(sheet, block, top, source)

    def _table(self, sheet: _Sheet, block: Block, top: float, source: _Source) -> None:
        left, right = self.layout.left, self.layout.left + block.width
        y = top
        for index, row in enumerate(block.rows):
            x = left + block.number_width
            if index:
                sheet.lines.append(self._rule(x, y, right, y, thick=False))
            for cell in row.cells:
                self._cell(sheet, cell, Box(x, y, cell.label_width, row.height), source)
                x += cell.label_width + cell.width
            y += row.height
        for x in (left, right):
            sheet.lines.append(self._rule(x, top, x, y, thick=True))
        for edge in (top, y):
            sheet.lines.append(self._rule(left, edge, right, edge, thick=True))

    def _cell(self, sheet: _Sheet, cell: Cell, label: Box, source: _Source) -> None:
        size = self.layout.label_pt
        sheet.texts.append(Text(LABEL, cell.label, label, size, Align.SPREAD, Fit.SHRINK))
        box = Box(label.right, label.y, cell.width, label.height)
        value = source.value(cell.field)
        sheet.texts.append(
            Text(cell.field, value, box, cell.size_pt, cell.align, person=source.person)
        )
        for edge in (label.right, box.right):
            if edge < self.layout.left + self.layout.household.width:
                sheet.lines.append(self._rule(edge, box.y, edge, box.bottom, thick=False))

    def _rule(self, x1: float, y1: float, x2: float, y2: float, *, thick: bool) -> Line:
        weight = self.layout.thick_pt if thick else self.layout.thin_pt
        return Line(round(x1, 3), round(y1, 3), round(x2, 3), round(y2, 3), weight)


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
