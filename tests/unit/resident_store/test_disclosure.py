"""What of a record may be shown: decided column by column, over all columns of the interface."""

from __future__ import annotations

import re
from datetime import date

import pytest

from bcl.resident_store import disclosure
from bcl.resident_store.disclosure import SEE_SENSITIVE, Sight
from bcl_contract.linkage.layouts import load_interface

INTERFACE = load_interface()
COLUMNS = [
    pytest.param(layout, column, id=f"{layout.file_id}.{column.name}")
    for layout in INTERFACE.files.values()
    for column in layout.columns
]
# By the Japanese title, not by our names: an independent look at the same table.
TELLS_WHERE = re.compile(
    "住所|居所|本籍|所在|転出先|方書|番地|町字|郵便|電話|連絡|地区管理|行政区|変更前|変更後|備考"
)
DATES_OF_A_PLACE = re.compile("年月日|届出|フラグ|区分|不詳")
EVERYTHING = Sight({SEE_SENSITIVE}, hides_places=False)


@pytest.mark.parametrize(("layout", "column"), COLUMNS)
def test_places__of_every_file__are_hidden_for_a_protected_person(layout, column) -> None:
    if TELLS_WHERE.search(column.title_ja) and not DATES_OF_A_PLACE.search(column.title_ja):
        hidden = disclosure.why_hidden(column, Sight({SEE_SENSITIVE}, hides_places=True))
        assert hidden is not None, column.title_ja


@pytest.mark.requirement("R-056")
@pytest.mark.parametrize(("layout", "column"), COLUMNS)
def test_class__of_every_column__decides_who_sees_it(layout, column) -> None:
    allowed = disclosure.why_hidden(column, EVERYTHING)
    plain = disclosure.why_hidden(column, Sight(set(), hides_places=False))
    if column.sensitivity in ("individual_number", "secret_image"):
        assert allowed == plain == disclosure.HIDDEN_CLASS
    elif column.sensitivity == "sensitive":
        assert (allowed, plain) == (None, disclosure.HIDDEN_SENSITIVE)
    else:
        assert allowed is plain is None


def test_record__is_shown_in_sections_with_codes_in_words() -> None:
    layout = INTERFACE.files["J01"]
    values = dict.fromkeys(layout.names) | {
        "full_name": "見本　花子", "sex": "2", "resident_state": "7", "deleted": "0",
        "registered_domicile": "見本県見本市本町一番地",
    }  # fmt: skip
    sections = disclosure.show_record(INTERFACE, layout, values, Sight(set(), hides_places=True))
    shown = {field.title_ja: field.text for section in sections for field in section.fields}
    assert shown["氏名"] == "見本　花子" and shown["性別"].endswith("（2）")
    assert shown["住民状態"] == "7（名称なし）" and shown["削除フラグ"] == "いいえ"
    assert shown["本籍"] == disclosure.HIDDEN_PLACE
    assert [section.title_ja for section in sections] == [
        "記録の区分", "氏名・性別・生年月日", "本籍・筆頭者", "その他",
    ]  # fmt: skip
    assert "見本県" not in repr(sections)


def test_purposes__begin_on_their_day() -> None:
    assert disclosure.purposes_on(date(2026, 3, 31)) == {}
    assert "DISASTER" in disclosure.purposes_on(date(2026, 4, 1))
