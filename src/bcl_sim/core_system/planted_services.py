"""Planted edge cases about cards, seals and tax (domain part 13: 印鑑, 税, コンビニ)."""

from __future__ import annotations

from bcl_sim.core_system import numbers
from bcl_sim.core_system.planted_builder import Register
from bcl_sim.core_system.seal_image import LARGEST_MM, SMALLEST_MM
from bcl_sim.core_system.store import Row


def _adult(register: Register, given: str, kana: str, age: int = 45, **columns: str) -> Row:
    name = ("甲野", given, "コウノ", kana)
    return register.resident(register.new_household(), name, age, 1, **columns)


def plant_cards(register: Register) -> None:
    """States of certificates: revoked, expired, suspended, renewed, two at once."""
    day = register.day
    row = _adult(register, "失効", "シッコウ")
    register.card(row, link_status="2", revoked_on=day(-3).isoformat())
    register.case("card_revoked", "カードの証明書が失効", row)
    row = _adult(register, "満了", "マンリョウ")
    register.card(row, valid_from_on=day(-1830).isoformat(), expires_on=day(-4).isoformat())
    register.case("card_expired", "カードの証明書の有効期間が満了", row)
    row = _adult(register, "停止", "テイシ")
    register.card(row, link_status="3")
    register.case("card_suspended", "カードの証明書が一時停止", row)
    row = _adult(register, "更新", "コウシン")
    register.card(row, ordinal=0, link_status="2", valid_from_on=day(-1900).isoformat(),
                  expires_on=day(-74).isoformat(), revoked_on=day(-100).isoformat())  # fmt: skip
    register.card(row, ordinal=1)
    register.case("card_renewed", "カード更新（旧い証明書は失効、新しいものが有効）", row)
    row = _adult(register, "無", "ナシ")
    register.without_card.add(row["addressee_number"])
    register.case("no_card", "カードなし", row)
    row = _adult(register, "二枚", "ニマイ")
    card = register.card(row)
    register.card(row, ordinal=2, digital_certificate_kind="2",
                  issuer_key=numbers.SMARTPHONE_ISSUER_KEY)  # fmt: skip
    register.case("card_and_smartphone", "カードとスマートフォンの証明書", row)
    other = _adult(register, "同番", "ドウバン")
    register.card(other)
    register.card(other, ordinal=2, digital_certificate_kind="2",
                  issuer_key=numbers.SMARTPHONE_ISSUER_KEY,
                  serial_number=card["serial_number"])  # fmt: skip
    register.case("same_serial_other_issuer", "別の認証局で発行番号が同じ（正当）", other, row)


def plant_seals(register: Register) -> None:
    """Seal registrations replaced, lost, erased, of foreign residents, at the limits of size."""
    day, today = register.day, register.today.isoformat()
    row = _adult(register, "改印", "カイイン")
    register.seal(row, ordinal=1, seal_status="5", seal_ended_on=today, seal_end_reason="07",
                  operated_on=today)  # fmt: skip
    register.seal(row, ordinal=2, seal_registered_on=today, operated_on=today)
    register.case("seal_replaced_same_day", "同じ日に改印（旧・新の2件）", row)
    row = _adult(register, "亡失", "ボウシツ")
    register.seal(row, seal_status="4", operated_on=day(-1).isoformat())
    register.case("seal_suspended", "印鑑登録の一時停止（亡失届）", row)
    row = _adult(register, "廃印", "ハイイン")
    register.seal(row, seal_status="2", seal_ended_on=day(-9).isoformat(), seal_end_reason="01")
    register.case("seal_abolished", "印鑑登録の廃止", row)
    row = _adult(register, "抹消", "マッショウ")
    register.seal(row, seal_status="3", seal_ended_on=day(-9).isoformat(), seal_end_reason="04",
                  registered_name="癸見　抹消")  # fmt: skip
    register.case("seal_erased_name_changed", "氏名変更で印鑑登録を抹消", row)
    row = _adult(register, "無印影", "ムインエイ")
    register.seal(row)
    register.rows["S02"].pop()
    register.case("seal_without_image", "印影のない印鑑登録", row)
    for case_id, text, millimetres in (
        ("seal_smallest", "印影8mmちょうど", SMALLEST_MM),
        ("seal_largest", "印影25mmちょうど", LARGEST_MM),
    ):
        row = _adult(register, "寸法", "スンポウ")
        register.seal(row, millimetres=millimetres)
        register.case(case_id, text, row)
    _plant_seal_names(register)
    _plant_fifteenth_birthdays(register)


def _plant_seal_names(register: Register) -> None:
    row = register.resident(
        register.new_household(), ("乙川", "旧姓", "オトカワ", "キュウセイ"), 37, 2,
        former_surname="丙山", former_surname_kana="ヘイヤマ",
    )  # fmt: skip
    register.seal(row, registered_name_kind="2", registered_name="丙山　旧姓",
                  former_surname="丙山")  # fmt: skip
    register.case("seal_former_surname", "旧氏で登録した印鑑", row)
    names = {
        "full_name": "KIM NA SAMPLE", "full_name_roman": "KIM NA SAMPLE",
        "full_name_kana": "キム　ナ", "alias": "丁谷　ナ", "alias_kana": "テイタニ　ナ",
    }  # fmt: skip
    row = register.foreign_resident(register.new_household(), names, 34, 2)
    register.seal(row, registered_name_kind="3", registered_name="丁谷　ナ", alias="丁谷　ナ")
    register.case("seal_alias", "通称で登録した印鑑", row)
    names = {
        "full_name": "CRUZ JOSE SAMPLE", "full_name_roman": "CRUZ JOSE SAMPLE",
        "full_name_kana": "クルス　ホセ",
    }  # fmt: skip
    row = register.foreign_resident(register.new_household(), names, 51, 1)
    register.seal(row, registered_name_kind="6", registered_name="クルス　ホセ",
                  full_name_kana_as_written="クルス　ホセ")  # fmt: skip
    register.case("seal_kana", "片仮名で登録した印鑑", row)


def _plant_fifteenth_birthdays(register: Register) -> None:
    for case_id, text, offset in (
        ("fifteen_today", "今日が15歳の誕生日", 0),
        ("fifteen_tomorrow", "明日が15歳の誕生日", 1),
    ):
        parent = _adult(register, "親", "オヤ", 45)
        birthday = register.day(offset)
        # 29 February has no 15th birthday 15 years earlier; the law counts it on 1 March.
        leap = birthday.month == 2 and birthday.day == 29
        born = birthday.replace(year=birthday.year - 15, day=28 if leap else birthday.day)
        row = register.member(
            parent, ("甲野", "十五", "コウノ", "ジュウゴ"), 15, 2, ("20", "子"), 2,
            born_on=born.isoformat(),
        )  # fmt: skip
        register.case(case_id, text, row, born_on=born.isoformat())
