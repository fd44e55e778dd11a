"""The paper: what stands on it, what must not, and that nothing is cut or guessed."""

from __future__ import annotations

import io
import subprocess
from dataclasses import replace

import pikepdf
import pytest
from fontTools.ttLib import TTFont
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bcl.issuance.documents import font
from bcl.issuance.documents.model import Page, PlacedModel
from bcl.issuance.documents.printed_values import parse_printed_date
from bcl.issuance.kinds import definition_of
from bcl.issuance.kinds.layout import LayoutError
from bcl.issuance.records import CopyOptions, Marks, Scope


def values(placed: PlacedModel, field: str) -> list[str]:
    return [t.value for page in placed.model.pages for t in page.texts if t.field == field]


def pdftotext(pdf: bytes) -> str:
    done = subprocess.run(
        ["pdftotext", "-raw", "-", "-"], input=pdf, capture_output=True, check=True
    )
    return done.stdout.decode()


@pytest.mark.requirement("R-066")
@pytest.mark.parametrize("relationship", [False, True])
@pytest.mark.parametrize("domicile", [False, True])
@pytest.mark.parametrize("foreign_items", [False, True])
@pytest.mark.parametrize("scope", [Scope.SELF, Scope.PART, Scope.HOUSEHOLD])
def test_compose__every_choice__shows_exactly_what_was_chosen(
    desk, person, foreigner, relationship, domicile, foreign_items, scope
):
    members = (person(1), person(2), foreigner(3))
    selected = frozenset({members[2].addressee_number}) if scope is Scope.PART else frozenset()
    chosen = {
        "relationship": relationship,
        "registered_domicile": domicile,
        "foreign_items": foreign_items,
    }
    shown_options = frozenset(name for name, wanted in chosen.items() if wanted)
    options = CopyOptions(scope, shown_options, selected=selected)
    expected = desk.expected(*members, options=options)
    placed = desk.place(expected)
    assert desk.lint(placed, expected) == []
    shown = {Scope.SELF: [0], Scope.PART: [0, 2], Scope.HOUSEHOLD: [0, 1, 2]}[scope]
    assert placed.model.persons == tuple(members[i].addressee_number for i in shown)
    mark = Marks().omitted
    assert (values(placed, "household.head_name")[0] == mark) is not relationship
    assert all((v == mark) is not relationship for v in values(placed, "member.relationship"))
    assert all((v == mark) is not domicile for v in values(placed, "member.registered_domicile"))
    assert all((v == mark) is not foreign_items for v in values(placed, "member.nationality"))
    assert set(values(placed, "member.individual_number")) == {mark}
    text = pdftotext(desk.render(placed))
    assert ("本籍町" in text) is domicile
    assert "24680135791" not in text
    whole = scope is Scope.HOUSEHOLD
    assert ("世帯全員の" in text) is whole and ("世帯の一部の" in text) is not whole


@pytest.mark.requirement("R-079")
@pytest.mark.parametrize(("count", "pages"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
def test_compose__many_members__continue_on_numbered_pages(desk, person, count, pages):
    expected = desk.expected(*(person(n) for n in range(1, count + 1)))
    placed = desk.place(expected)
    assert desk.lint(placed, expected) == []
    assert values(placed, "page_number") == [f"{n}/{pages}" for n in range(1, pages + 1)]
    assert len(values(placed, "issue_number")) == pages
    assert len(values(placed, "blank_below")) == len(values(placed, "sentence")) == 1
    assert desk.compare(desk.render(placed), placed) is None


@pytest.mark.requirement("R-082")
@pytest.mark.parametrize(
    ("day", "printed"),
    [
        ("1989-01-07", "昭和64年1月7日"),
        ("1989-01-08", "平成元年1月8日"),
        ("2019-04-30", "平成31年4月30日"),
        ("2019-05-01", "令和元年5月1日"),
        ("1926-12-24", "大正15年12月24日"),
        ("1912-07-30", "大正元年7月30日"),
    ],
)
def test_compose__birth_at_an_era_border__is_written_right(desk, person, day, printed):
    expected = desk.expected(person(1, born_on=day))
    placed = desk.place(expected)
    assert values(placed, "member.born_on") == [printed]
    assert desk.lint(placed, expected) == []
    assert parse_printed_date(printed).isoformat() == day


@pytest.mark.requirement("R-082")
def test_compose__unknown_birth_date__prints_what_the_town_wrote(desk, person):
    expected = desk.expected(
        person(1, born_on_unknown="1", born_on_as_written="昭和１０年月日不詳")
    )
    placed = desk.place(expected)
    assert values(placed, "member.born_on") == ["昭和１０年月日不詳"]
    assert desk.lint(placed, expected) == []
    bad = desk.expected(person(1, born_on_unknown="1"))
    assert desk.refusal(bad).code == "ISSUE_RECORD_INCOMPLETE"


def test_compose__foreign_resident__roman_name_alias_and_western_birth(desk, foreigner):
    placed = desk.place(desk.expected(foreigner(1)))
    assert values(placed, "member.full_name") == ["SMITH JOHN"]
    assert values(placed, "member.alias") == ["須美州　譲"]
    assert values(placed, "member.born_on") == ["1985年4月3日"]
    assert values(placed, "member.became_foreign_resident_on") == ["平成30年2月1日"]
    unknown = desk.refusal(desk.expected(foreigner(1, article_30_45_kind="77")))
    assert unknown.code == "ISSUE_RECORD_INCOMPLETE"


def test_compose__kana_not_confirmed__is_not_printed(desk, person):
    expected = desk.expected(person(1, full_name_kana_confirmation="0"))
    assert values(desk.place(expected), "member.full_name_kana") == [Marks().empty]


def test_compose__somebody_of_another_household__is_refused(desk, person):
    options = CopyOptions(Scope.PART, selected=frozenset({"999"}))
    expected = desk.expected(person(1), options=options)
    assert desk.refusal(expected).code == "ISSUE_MEMBER_NOT_IN_HOUSEHOLD"


@pytest.mark.requirement("R-077")
@pytest.mark.parametrize(
    "name",
    [
        "甲野　\U0010de92",
        "葛\U000e0100城",
        "か\u309a",
        "〓\ue000",
        "甲\u200b野",
        "甲野\u3000\U0001f600",
    ],
)
def test_place__character_without_its_exact_glyph__is_refused(desk, person, name):
    refusal = desk.refusal(desk.expected(person(1, full_name=name)))
    assert refusal.code == "ISSUE_GLYPH_MISSING"
    assert refusal.detail["field"] == "member.full_name" and name not in str(refusal.detail)


@pytest.mark.requirement("R-078")
@pytest.mark.parametrize("length", [10, 60, 100])
def test_place__long_name__is_shrunk_or_wrapped_and_read_back_whole(desk, person, length):
    kanji = [glyph for glyph in _GLYPHS if "一" <= glyph[0] <= "龥" and len(glyph) == 1]
    name = "".join(kanji[:length])
    expected = desk.expected(person(1, full_name=name))
    placed = desk.place(expected)
    assert desk.lint(placed, expected) == []
    pdf = desk.render(placed)
    assert desk.compare(pdf, placed) is None
    assert name in pdftotext(pdf).replace("\n", "")


@pytest.mark.requirement("R-078")
def test_place__long_address__whole_or_refused(desk, person):
    town = "長い町名の見本" * 28
    expected = desk.expected(person(1, address_town=town))
    placed = desk.place(expected)
    assert town in pdftotext(desk.render(placed)).replace("\n", "")
    refusal = desk.refusal(desk.expected(person(1, address_town=town * 4)))
    assert refusal.code == "ISSUE_LAYOUT_OVERFLOW"
    assert refusal.detail["field"] == "household.address"


_GLYPHS = sorted(font.load_typeface().glyph_names)


@pytest.mark.requirement("R-078")
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from(_GLYPHS), min_size=1, max_size=90).map("".join))
def test_paper__any_drawable_text__is_read_back_or_refused(desk, person, text):
    expected = desk.expected(person(1, full_name=text, registered_domicile=text[:60]))
    model = desk.compose(expected)
    from bcl.issuance.documents.fit import place

    placed = place(model, desk.typeface)
    if isinstance(placed, PlacedModel):
        assert desk.lint(placed, expected) == []
        assert desk.compare(desk.render(placed), placed) is None
    else:
        assert placed.code in ("ISSUE_LAYOUT_OVERFLOW", "ISSUE_GLYPH_MISSING")


@pytest.mark.requirement("R-077")
def test_render__five_hundred_sequences__draw_the_very_glyph_of_the_font(desk, person):
    """The outline in the PDF equals the outline that the font has for this sequence."""
    sequences = [c for c in _GLYPHS if len(c) == 2 and ord(c[0]) > 0x4000][::22][:500]
    assert len(sequences) == 500
    with TTFont(font.DEFAULT_FONT_PATH) as original:
        _compare_outlines(desk, person, sequences, original["glyf"])


def _compare_outlines(desk, person, sequences, outlines) -> None:
    for first in range(0, len(sequences), 100):
        part = sequences[first : first + 100]
        people = [person(n + 1, full_name="".join(part[n * 25 : n * 25 + 25])) for n in range(4)]
        placed = desk.place(desk.expected(*people))
        pdf = desk.render(placed)
        assert desk.compare(pdf, placed) is None
        drawn = {desk.typeface.glyph_of(t): o for t, o in _outlines_by_text(pdf).items()}
        for sequence in part:
            name = desk.typeface.glyph_of(sequence)
            assert drawn[name] == _points(outlines[name], outlines)


def _points(glyph, table) -> list:
    return list(glyph.getCoordinates(table)[0])


def _outlines_by_text(pdf: bytes) -> dict[str, list]:
    with pikepdf.open(io.BytesIO(pdf)) as document:
        fonts = document.pages[0].Resources.Font
        type0 = next(iter(fonts.values()))
        cmap = type0.ToUnicode.read_bytes().decode()
        file = type0.DescendantFonts[0].FontDescriptor.FontFile2.read_bytes()
    embedded = TTFont(io.BytesIO(file))
    table, order = embedded["glyf"], embedded.getGlyphOrder()
    result = {}
    for line in cmap.splitlines():
        parts = line.replace("<", " ").replace(">", " ").split()
        if line.startswith("<") and len(parts) == 2:
            text = bytes.fromhex(parts[1]).decode("utf-16-be")
            result[text] = _points(table[order[int(parts[0], 16)]], table)
    return result


@pytest.mark.requirement("R-080")
def test_render__twice__gives_the_same_bytes_and_another_number_gives_others(desk, person):
    expected = desk.expected(person(1), person(2))
    first, second = (desk.render(desk.place(expected)) for _ in range(2))
    assert first == second
    edition = replace(expected.edition, issue_number="A" * 26)
    other = desk.render(desk.place(replace(expected, edition=edition)))
    assert other != first


def test_read_back__another_paper__is_told_apart(desk, person):
    mine = desk.place(desk.expected(person(1)))
    other = desk.expected(
        person(1), edition=replace(desk.expected(person(1)).edition, issue_number="B" * 26)
    )
    assert desk.compare(desk.render(desk.place(other)), mine).field == "issue_number"
    twin = desk.place(desk.expected(person(1, full_name="甲野　別人")))
    difference = desk.compare(desk.render(twin), mine)
    assert difference.reason == "text" and difference.field == "member.full_name"
    two = desk.place(desk.expected(*(person(n) for n in range(1, 6))))
    assert desk.compare(desk.render(two), mine).reason == "page_count"
    assert desk.compare(b"%PDF-1.4 nothing", mine).reason == "not_readable"


def test_read_back__something_more_on_the_page__is_found(desk, person):
    more = desk.place(desk.expected(person(1), person(2)))
    less = replace(
        more,
        pages=(replace(more.pages[0], lines_of_text=more.pages[0].lines_of_text[:-1]),),
    )
    assert desk.compare(desk.render(more), less).reason == "more_than_the_model"


def _with_texts(placed: PlacedModel, change) -> PlacedModel:
    page = placed.model.pages[0]
    changed = Page(tuple(change(t) for t in page.texts if change(t)), page.lines, page.images)
    return replace(placed, model=replace(placed.model, pages=(changed,)))


@pytest.mark.requirement("R-066")
@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("member.full_name", "甲野　別人", "page_equals_record"),
        ("member.born_on", "昭和36年5月2日", "page_equals_record"),
        ("member.registered_domicile", "よその本籍", "page_equals_record"),
        ("household.address", "よその住所", "page_equals_record"),
        ("issue_number", "発行番号 OTHER", "frame_is_of_this_paper"),
        ("page_number", "1/2", "frame_is_of_this_paper"),
        ("certifier", "隣町長　誰か", "frame_is_of_this_paper"),
        ("issued_on", "令和8年11月21日", "frame_is_of_this_paper"),
        ("member.individual_number", "123456789018", "omitted_items_are_absent"),
        ("member.resident_record_code", "24680135791", "omitted_items_are_absent"),
        ("member.relationship", None, "mandatory_fields_are_present"),
        ("blank_below", None, "mandatory_fields_are_present"),
        ("member.full_name", None, "persons_are_the_chosen_ones"),
    ],
)
def test_lint__a_slip_in_composing__is_found(desk, person, field, value, found):
    expected = desk.expected(person(1))
    placed = desk.place(expected)

    def change(text):
        if text.field != field:
            return text
        return None if value is None else replace(text, value=value)

    assert found in {f.lint for f in desk.lint(_with_texts(placed, change), expected)}


def test_lint__a_member_too_many_or_too_few__is_found(desk, person):
    two = desk.expected(person(1), person(2))
    placed = desk.place(two)
    shown = frozenset({"relationship", "registered_domicile"})
    one = replace(two, options=CopyOptions(Scope.SELF, shown))
    assert "persons_are_the_chosen_ones" in {f.lint for f in desk.lint(placed, one)}
    alone = desk.place(one)
    assert "persons_are_the_chosen_ones" in {f.lint for f in desk.lint(alone, two)}


def test_lint__text_outside_its_box__is_found(desk, person):
    expected = desk.expected(person(1))
    placed = desk.place(expected)
    lines = placed.pages[0].lines_of_text
    moved = replace(lines[-1], x=lines[-1].x + 200)
    page = replace(placed.pages[0], lines_of_text=(*lines[:-1], moved))
    assert "nothing_is_cut" in {f.lint for f in desk.lint(replace(placed, pages=(page,)), expected)}


def test_layout__unknown_or_hostile_version__is_an_error():
    for version in ("nothing-1", "../resident_record_copy-household-1", ""):
        with pytest.raises(LayoutError):
            definition_of(version)


def test_font__not_installed__is_said_in_a_sentence(tmp_path):
    with pytest.raises(font.FontNotInstalledError, match="fonts-ipamj-mincho"):
        font.load_typeface(tmp_path / "ipamjm.ttf")
