"""Checks of a composed page before it is drawn. Each lint judges one promise of the paper.

They look at the page model and at the record again, from their own tables: a slip in `compose`
must not be able to hide itself. A finding is a defect of ours or of the data, so the paper is
not issued (ISSUE_DOCUMENT_CHECK_FAILED); findings name the lint and the field, never a value.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bcl.issuance.documents.font import Typeface, clusters
from bcl.issuance.documents.model import PlacedModel, Text
from bcl.issuance.documents.printed_values import (
    is_address,
    is_value_of_person,
    is_value_of_records,
    parse_printed_date,
)
from bcl.issuance.kinds import KindDefinition
from bcl.issuance.records import (
    Certifier,
    CopyOptions,
    Edition,
    HouseholdRecord,
    Marks,
    PersonRecord,
    Records,
    Scope,
)


@dataclass(frozen=True, slots=True)
class Expected:
    """Everything a paper is judged against: the request's side, not the page's."""

    records: Records
    applicant: str
    options: CopyOptions
    definition: KindDefinition
    marks: Marks
    certifier: Certifier
    edition: Edition

    @property
    def household(self) -> HouseholdRecord:
        """The household of the holder of the card."""
        return self.records.household


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken promise: which lint, on which field."""

    lint: str
    field: str


Lint = Callable[[PlacedModel, Expected, Typeface], Iterator[Finding]]

# What a paper of these kinds must show in any case, whatever its definition says
# (印鑑登録証明事務処理要領; 地方税法20条の10 and its enforcement rules for 納税証明).
_ALWAYS_OF_FAMILY = {
    "SEAL_REGISTRATION": {
        "member.full_name",
        "member.born_on",
        "member.address",
        "seal.former_surname",
        "seal.alias",
        "seal.full_name_kana_as_written",
    },
    "TAX": {"tax.year", "member.full_name", "member.address", "tax.assessment_date_address"},
}
_ALWAYS = {
    "1": {
        "member.full_name",
        "member.full_name_kana",
        "member.former_surname",
        "member.born_on",
        "member.sex",
        "member.relationship",
        "member.registered_domicile",
        "member.family_register_head",
        "member.became_resident_on",
        "member.address_established_on",
        "member.notified_on",
        "member.address_before_moving_in",
        "member.address_before_relocation",
        "member.individual_number",
        "member.resident_record_code",
        "member.remarks",
    },
    "2": {
        "member.full_name",
        "member.full_name_kanji",
        "member.alias",
        "member.born_on",
        "member.sex",
        "member.relationship",
        "member.became_foreign_resident_on",
        "member.address_established_on",
        "member.notified_on",
        "member.address_before_moving_in",
        "member.address_before_relocation",
        "member.nationality",
        "member.article_30_45_kind",
        "member.residence_status",
        "member.residence_period",
        "member.residence_period_expires_on",
        "member.residence_card_number",
        "member.individual_number",
        "member.resident_record_code",
        "member.remarks",
    },
}
# Items the law lets a copy leave out, and the choice that shows them (法12条5項).
_OMISSIBLE = {
    "relationship": {"member.relationship", "household.head_name"},
    "registered_domicile": {"member.registered_domicile", "member.family_register_head"},
    "foreign_items": {
        "member.nationality",
        "member.article_30_45_kind",
        "member.residence_status",
        "member.residence_period",
        "member.residence_period_expires_on",
        "member.residence_card_number",
    },
    "individual_number": {"member.individual_number"},
    "resident_record_code": {"member.resident_record_code"},
}


def lint(placed: PlacedModel, expected: Expected, typeface: Typeface) -> list[Finding]:
    """Run the lints; an empty list means that the page may be drawn.

    The first lint that finds something ends it: later ones lean on what earlier ones promise.
    """
    for check in LINTS:
        findings = list(check(placed, expected, typeface))
        if findings:
            return findings
    return []


def persons_are_the_chosen_ones(
    placed: PlacedModel, expected: Expected, typeface: Typeface
) -> Iterator[Finding]:
    """The members on the page equal the members asked for: nobody more, nobody less."""
    options = expected.options
    if options.scope is Scope.HOUSEHOLD:
        wanted = {m.addressee_number for m in expected.household.members}
    else:
        wanted = {expected.applicant}
        if options.scope is Scope.PART:
            wanted |= options.selected
    named = [text.person for text in _texts(placed) if text.field == "member.full_name"]
    if sorted(named) != sorted(wanted) or set(placed.model.persons) != wanted:
        yield Finding("persons_are_the_chosen_ones", "member.full_name")
    if {text.person for text in _texts(placed)} - {""} != wanted:
        yield Finding("persons_are_the_chosen_ones", "member")
    if not _records_are_the_applicant_s(expected):
        yield Finding("persons_are_the_chosen_ones", "records")


def _records_are_the_applicant_s(expected: Expected) -> bool:
    """A seal or tax record belongs to the holder of the card, who stands alone on the paper."""
    records, applicant = expected.records, expected.applicant
    owners = [records.seal.columns.get("addressee_number")] if records.seal else []
    owners += [records.tax.payer.get("addressee_number")] if records.tax else []
    if owners and expected.options.scope is not Scope.SELF:
        return False
    return all(owner == applicant for owner in owners)


def mandatory_fields_are_present(
    placed: PlacedModel, expected: Expected, typeface: Typeface
) -> Iterator[Finding]:
    """Every field of the form stands there once per member, filled; the frame on its pages."""
    counts = Counter((text.person, text.field) for text in _texts(placed) if text.value)
    for person in _chosen(placed, expected):
        for field in _must_show(expected, person):
            if counts[person.addressee_number, field] != 1:
                yield Finding("mandatory_fields_are_present", field)
    yield from _frame_that_is_missing(placed, expected, counts)


def _must_show(expected: Expected, person: PersonRecord) -> set[str]:
    if expected.definition.family == "RESIDENT_RECORD_COPY":
        return _ALWAYS["2" if person.is_foreign else "1"]
    printed = {f for f in expected.definition.layout.fields() if not f.startswith("household.")}
    if expected.definition.layout.members is not None:
        printed = set()
    return printed | _ALWAYS_OF_FAMILY.get(expected.definition.family, {"member.full_name"})


def _frame_that_is_missing(
    placed: PlacedModel, expected: Expected, counts: Counter[tuple[str, str]]
) -> Iterator[Finding]:
    total = len(placed.pages)
    household = {f for f in expected.definition.layout.fields() if f.startswith("household.")}
    for field in {"title", "page_number", "issue_number"} | household:
        if counts["", field] != total:
            yield Finding("mandatory_fields_are_present", field)
    last = {text.field for text in placed.model.pages[-1].texts if text.value}
    for field in ("sentence", "issued_on", "certifier", "blank_below"):
        if counts["", field] != 1 or field not in last:
            yield Finding("mandatory_fields_are_present", field)
    images = [(image.field, image.png) for image in placed.model.pages[-1].images]
    wanted = [("seal", expected.certifier.seal_png)]
    if expected.definition.layout.imprint is not None:
        seal = expected.records.seal
        wanted.insert(0, ("imprint", seal.png if seal and seal.png else b""))
    if images != wanted or any(page.images for page in placed.model.pages[:-1]):
        yield Finding("mandatory_fields_are_present", "seal")


def imprint_is_the_registered_one(
    placed: PlacedModel, expected: Expected, typeface: Typeface
) -> Iterator[Finding]:
    """The imprint's bytes have the digest the registration names, at true size (INC-05)."""
    for page in placed.model.pages:
        for image in page.images:
            if image.field != "imprint":
                continue
            seal = expected.records.seal
            digest = hashlib.sha256(image.png).hexdigest()
            if seal is None or digest != seal.image.get("image_sha256", "").lower():
                yield Finding("imprint_is_the_registered_one", "seal.imprint")
                continue
            if (seal["seal_registration_number"], seal["seal_image_number"]) != (
                seal.image.get("seal_registration_number"),
                seal.image.get("seal_image_number"),
            ):
                yield Finding("imprint_is_the_registered_one", "seal.imprint")
            # The size stands in the picture itself too: IHDR, 4 bytes each.
            width, height = (int.from_bytes(image.png[at : at + 4], "big") for at in (16, 20))
            dots = int(seal.image["image_dots_per_inch"])
            if (
                abs(image.box.width - width * 25.4 / dots) > 0.01
                or abs(image.box.height - height * 25.4 / dots) > 0.01
            ):
                yield Finding("imprint_is_the_registered_one", "seal.size")


def frame_is_of_this_paper(
    placed: PlacedModel, expected: Expected, typeface: Typeface
) -> Iterator[Finding]:
    """Issue number on every page, n/total, the right mayor, sentence and day."""
    total = len(placed.pages)
    for number, page in enumerate(placed.model.pages, start=1):
        values = {text.field: text.value for text in page.texts}
        if not values.get("issue_number", "").endswith(" " + expected.edition.issue_number):
            yield Finding("frame_is_of_this_paper", "issue_number")
        if values.get("page_number") != f"{number}/{total}":
            yield Finding("frame_is_of_this_paper", "page_number")
        if values.get("title") != expected.definition.layout.title:
            yield Finding("frame_is_of_this_paper", "title")
    values = {text.field: text.value for text in placed.model.pages[-1].texts}
    scope, certifier, definition = expected.options.scope, expected.certifier, expected.definition
    own = certifier.sentences.get(f"{definition.code}.{scope.value}")
    if values["sentence"] != (own or definition.sentences[scope.value]):
        yield Finding("frame_is_of_this_paper", "sentence")
    if values["certifier"] != f"{certifier.head_title}　{certifier.name}":
        yield Finding("frame_is_of_this_paper", "certifier")
    if parse_printed_date(values["issued_on"]) != expected.edition.issued_on:
        yield Finding("frame_is_of_this_paper", "issued_on")


def omitted_items_are_absent(
    placed: PlacedModel, expected: Expected, typeface: Typeface
) -> Iterator[Finding]:
    """What was not chosen shows only the mark; the head's name goes with the relationship."""
    hidden = {
        field
        for option, fields in _OMISSIBLE.items()
        if option not in expected.options.shown
        for field in fields
    }
    codes = {
        person["resident_record_code"]
        for person in expected.household.members
        if person["resident_record_code"]
    }
    for text in _texts(placed):
        if text.field in hidden and text.value != expected.marks.omitted:
            yield Finding("omitted_items_are_absent", text.field)
        if text.field not in hidden and text.value == expected.marks.omitted:
            yield Finding("omitted_items_are_absent", text.field)
        if "resident_record_code" not in expected.options.shown and text.value in codes:
            yield Finding("omitted_items_are_absent", text.field)


def page_equals_record(
    placed: PlacedModel, expected: Expected, typeface: Typeface
) -> Iterator[Finding]:
    """Each printed value is the record's own, character by character."""
    skip = {expected.marks.omitted}
    for text in _texts(placed):
        if text.field == "household.address":
            if not is_address(text.value, _chosen(placed, expected)[0]):
                yield Finding("page_equals_record", text.field)
            continue
        person = expected.household.member(text.person) if text.person else None
        if person is None or text.value in skip:
            continue
        if text.field.startswith(("seal.", "tax.")):
            if not is_value_of_records(text, expected.records, expected.marks):
                yield Finding("page_equals_record", text.field)
            continue
        if not is_value_of_person(text, person, expected.marks):
            yield Finding("page_equals_record", text.field)


def nothing_is_cut(
    placed: PlacedModel, expected: Expected, typeface: Typeface
) -> Iterator[Finding]:
    """Every character of every text has a place inside its own box, none smaller than 6 pt."""
    for model_page, placed_page in zip(placed.model.pages, placed.pages, strict=True):
        drawn: dict[int, str] = {}
        for line in placed_page.lines_of_text:
            drawn[id(line.source)] = drawn.get(id(line.source), "") + line.value
            box, em = line.source.box, line.size_pt * 25.4 / 72
            right = line.x + typeface.width_mm(line.value, line.size_pt)
            right += line.tracking * (len(clusters(line.value)) - 1)
            inside = (
                box.x - 0.01 <= line.x
                and right <= box.right + 0.02
                and box.y - 0.02 <= line.y
                and line.y + em <= box.bottom + 0.02
            )
            if not inside or line.size_pt < min(6.0, line.source.size_pt):
                yield Finding("nothing_is_cut", line.source.field)
        for text in model_page.texts:
            if drawn.get(id(text)) != text.value:
                yield Finding("nothing_is_cut", text.field)
            if text.box.right > placed.model.width_mm or text.box.bottom > placed.model.height_mm:
                yield Finding("nothing_is_cut", text.field)


def every_glyph_is_in_the_font(
    placed: PlacedModel, expected: Expected, typeface: Typeface
) -> Iterator[Finding]:
    """No character would be drawn as a gap or as its look-alike (R-077, decision D36)."""
    for text in _texts(placed):
        if typeface.missing(text.value) is not None:
            yield Finding("every_glyph_is_in_the_font", text.field)


LINTS: tuple[Lint, ...] = (
    persons_are_the_chosen_ones,
    mandatory_fields_are_present,
    imprint_is_the_registered_one,
    frame_is_of_this_paper,
    omitted_items_are_absent,
    page_equals_record,
    nothing_is_cut,
    every_glyph_is_in_the_font,
)


def _texts(placed: PlacedModel) -> Iterator[Text]:
    for page in placed.model.pages:
        yield from page.texts


def _chosen(placed: PlacedModel, expected: Expected) -> list[PersonRecord]:
    persons = set(placed.model.persons)
    return [m for m in expected.household.members if m.addressee_number in persons]
