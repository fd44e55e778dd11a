"""Versions of the interface: their dates, their differences."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bcl_contract import clock
from bcl_contract.linkage import catalog
from bcl_contract.linkage.catalog import Catalog, CatalogFault, UnknownInterfaceVersion
from bcl_contract.linkage.changes import compare, compare_interfaces, reads_alike
from bcl_contract.linkage.layouts import load_interface, supported_versions

DEADLINE = datetime(2027, 4, 1, tzinfo=clock.JST)
HEADER = "version,directory,published_at,accepted_from,accepted_until,summary_ja\n"


@pytest.fixture
def draft(tmp_path: Path, draft_version):
    """The draft catalog, in force for one test."""
    with catalog.use(draft_version.write_draft(tmp_path / "draft", deadline=DEADLINE)) as found:
        yield found


def write_versions(tmp_path: Path, *lines: str) -> Path:
    (tmp_path / "versions.csv").write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


@pytest.mark.requirement("R-036")
def test_catalog__in_use__changes_which_versions_exist(tmp_path: Path, draft_version) -> None:
    shipped = supported_versions()
    found = draft_version.write_draft(tmp_path / "draft", deadline=DEADLINE)
    with catalog.use(found):
        assert supported_versions() == ("1.0", "2.0")
        assert load_interface("2.0").files["J01"].has("entry_channel")
        assert catalog.current().predecessor("2.0").version == "1.0"
        assert catalog.current().predecessor("1.0") is None
    assert supported_versions() == shipped
    assert not load_interface("1.0").files["J01"].has("entry_channel")
    with pytest.raises(UnknownInterfaceVersion):
        catalog.current().find("9.0")


@pytest.mark.requirement("R-036")
def test_window__both_accepted_in_it__to_the_second(draft: Catalog) -> None:
    def accepted(at: datetime) -> list[str]:
        return [each.version for each in draft.versions if each.is_accepted(at)]

    second = timedelta(seconds=1)
    begins = DEADLINE - timedelta(days=180)
    assert accepted(begins - second) == ["1.0"]
    assert accepted(begins) == ["1.0", "2.0"]
    assert accepted(DEADLINE - second) == ["1.0", "2.0"]
    assert accepted(DEADLINE) == ["2.0"]
    assert draft.newest_accepted(begins).version == "2.0"
    assert draft.newest_accepted(begins - second).version == "1.0"


@pytest.mark.parametrize(
    ("fault", "lines"),
    [
        ("版がない", ()),
        ("二つあります", ("1.0,v1,2026-01-01T00:00+09:00,2026-01-01T00:00+09:00,,x",) * 2),
        ("公開日より前", ("1.0,v1,2026-02-01T00:00+09:00,2026-01-01T00:00+09:00,,x",)),
        ("1.0", ("1.0,v1,2026-01-01,2026-01-01,,x",)),
        ("形が違います", ("1.0,../v1,2026-01-01T00:00+09:00,2026-01-01T00:00+09:00,,x",)),
        ("1.0 の受入期限のあとに",
         ("1.0,v1,2026-01-01T00:00+09:00,2026-01-01T00:00+09:00,2027-01-01T00:00+09:00,x",)),
        ("1.0 の受入期限のあとに",
         ("1.0,v1,2026-01-01T00:00+09:00,2026-01-01T00:00+09:00,2027-01-01T00:00+09:00,x",
          "2.0,v2,2026-01-01T00:00+09:00,2027-01-01T00:00+09:00,,x")),
        ("受入開始より前に受入期限", ("1.0,v1,2026-01-01T00:00+09:00,2026-01-01T00:00+09:00,"
                         "2026-01-01T00:00+09:00,x",)),
    ],
)  # fmt: skip
def test_catalog__contradicting_dates__is_refused(
    tmp_path: Path, fault: str, lines: tuple[str, ...]
) -> None:
    with pytest.raises(CatalogFault, match=fault):
        Catalog(write_versions(tmp_path, *lines))


@pytest.mark.requirement("R-038")
def test_compare__draft__names_every_change_and_who_must_act(draft: Catalog) -> None:
    found = {
        (each.kind, each.subject, each.place, each.attribute): each
        for each in compare("1.0", "2.0")
    }
    assert {place: each.must_act for place, each in found.items()} == {
        ("added", "file", "J90", ""): False,
        ("added", "column", "J01.entry_channel", ""): True,
        ("removed", "column", "J01.district_code_10", ""): True,
        ("changed", "column", "J01.address_building", "length"): False,
        ("changed", "column", "J08.address_lot_as_written", "length"): True,
        ("changed", "column", "J08.contact_telephone_number", "name"): False,
        ("changed", "column", "J08.contact_telephone_number", "title_ja"): True,
        ("added", "code_list", "entry_channel", ""): False,
        ("added", "code", "alias_kind.3", ""): False,
        ("removed", "code", "alias_kind.2", ""): True,
    }
    length = found["changed", "column", "J01.address_building", "length"]
    assert (length.before, length.after) == ("300", "400")
    assert length.text_ja == "変更: 項目 J01.address_building「住所_方書」 桁 300 → 400"
    assert "【対応が必要】" in found["removed", "code", "alias_kind.2", ""].text_ja
    assert length.as_json()["must_act"] is False


@pytest.mark.requirement("R-038")
def test_compare__backwards__adds_become_removals(draft: Catalog) -> None:
    forward = {(each.subject, each.place) for each in compare("1.0", "2.0") if each.kind == "added"}
    back = {(each.subject, each.place) for each in compare("2.0", "1.0") if each.kind == "removed"}
    assert forward == back
    assert compare("2.0", "2.0") == []


def test_compare__other_order__is_said(draft: Catalog) -> None:
    from dataclasses import replace
    from types import MappingProxyType

    old = load_interface("1.0")
    layout = old.files["J02"]
    turned = replace(layout, columns=(*layout.columns[1:], layout.columns[0]))
    new = replace(old, files=MappingProxyType(dict(old.files) | {"J02": turned}))
    (change,) = compare_interfaces(old, new)
    assert (change.place, change.attribute, change.must_act) == ("J02", "position", True)


def test_reads_alike__is_no_where_a_line_would_say_another_thing(draft: Catalog) -> None:
    old, new = load_interface("1.0"), load_interface("2.0")
    unlike = {file_id for file_id in new.files if not reads_alike(old, new, file_id)}
    assert unlike == {"J01", "J02", "J08", "J90"}  # J02: one of its codes is gone
