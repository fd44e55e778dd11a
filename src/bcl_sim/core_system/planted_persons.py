"""Planted edge cases about persons, names and households (domain part 13, first two rows)."""

from __future__ import annotations

from bcl_sim.core_system.planted_builder import WIDE, Register, empty_row, stamped

CHILD = ("20", "子")
WIFE = ("12", "妻")


def plant_persons(register: Register) -> None:
    """Foreign residents, hard names, unknown dates, look-alikes."""
    _plant_foreign(register)
    _plant_hard_names(register)
    _plant_odd_records(register)
    _plant_look_alikes(register)


def plant_households(register: Register) -> None:
    """Household sizes, relations and shared addresses."""
    _plant_sizes(register)
    _plant_relations(register)
    first = register.resident(register.new_household(), ("乙川", "同", "オトカワ", "ドウ"), 71, 1)
    second = register.resident(register.new_household(), ("丙山", "住", "ヘイヤマ", "スミ"), 34, 2)
    second |= {k: v for k, v in first.items() if k.startswith("address_") and "_before_" not in k
               and "established" not in k}  # fmt: skip
    register.case("same_address_other_household", "同じ住所の別世帯", first, second)
    young = register.resident(
        register.new_household(), ("丁谷", "一人", "テイタニ", "カズト"), 23, 1
    )
    register.case("household_of_one", "単身世帯", young)


def _roman(roman: str, kana: str, **more: str) -> dict[str, str]:
    return {"full_name": roman, "full_name_roman": roman, "full_name_kana": kana, **more}


def _plant_foreign(register: Register) -> None:
    home = register.new_household
    row = register.foreign_resident(
        home(), _roman("SANTOS MARIA SAMPLE", "サントス　マリア"), 31, 2
    )
    register.case("foreign_roman_only", "外国人（ローマ字氏名のみ）", row)
    names = _roman("WANG WEI SAMPLE", "ワン　ウェイ", full_name_kanji="王　偉見")
    row = register.foreign_resident(
        home(), names, 40, 1, nationality_country_code="CHN", nationality_name="中国"
    )
    register.case("foreign_with_kanji", "外国人（ローマ字と漢字を併記）", row)
    names = {
        "full_name": "金　賢見",
        "full_name_kanji": "金　賢見",
        "full_name_kana": "キム　ヒョン",
    }
    row = register.foreign_resident(
        home(), names, 52, 1, nationality_country_code="KOR", nationality_name="韓国"
    )
    register.case("foreign_kanji_only", "外国人（漢字氏名のみ）", row)
    _plant_alias(register)
    row = register.foreign_resident(
        home(), _roman("PARK MIN SAMPLE", "パク　ミン"), 66, 2,
        nationality_country_code="KOR", nationality_name="韓国", article_30_45_kind="2",
        residence_status_code="", residence_status_name="", residence_period_years="",
        residence_period_as_written="", residence_period_expires_on="",
        residence_card_number_kind="2",
    )  # fmt: skip
    register.case("foreign_special_permanent", "特別永住者", row)
    row = register.foreign_resident(
        home(), _roman("TRAN HOA SAMPLE", "トラン　ホア"), 27, 2,
        nationality_country_code="VNM", nationality_name="ベトナム",
        residence_period_expires_on=register.day(-10).isoformat(),
    )  # fmt: skip
    register.case("foreign_period_passed", "在留期間の満了の日を過ぎた外国人", row)
    row = register.foreign_resident(
        home(), _roman("SAMPLE STATELESS", "サンプル　ステートレス"), 38, 1,
        nationality_country_code="", nationality_name="無国籍",
    )  # fmt: skip
    register.case("foreign_stateless", "無国籍（国名コードなし）", row)


def _plant_alias(register: Register) -> None:
    names = _roman(
        "SILVA LINDA SAMPLE", "シルバ　リンダ", alias="丙山　リンダ", alias_kana="ヘイヤマ　リンダ"
    )
    row = register.foreign_resident(
        register.new_household(), names, 45, 2,
        nationality_country_code="BRA", nationality_name="ブラジル",
    )  # fmt: skip
    for number, (name, kana, entered, removed) in enumerate(
        (
            ("乙川　リンダ", "オトカワ　リンダ", -850, -300),
            ("丙山　リンダ", "ヘイヤマ　リンダ", -300, None),
        ),
        start=1,
    ):
        entry = empty_row("J02") | {
            "municipality_code": row["municipality_code"],
            "addressee_number": row["addressee_number"],
            "alias_number": str(number),
            "alias_kind": "2",
            "alias_or_former_surname": name,
            "alias_or_former_surname_kana": kana,
            "entered_on": register.day(entered).isoformat(),
            "entered_municipality_name": register.facts.name,
        }
        if removed is not None:
            entry |= {
                "removed_on": register.day(removed).isoformat(),
                "removed_municipality_name": register.facts.name,
            }
        register.add("J02", stamped(entry, register.day(removed or entered)))
    register.case("foreign_alias_two_histories", "通称あり（通称の履歴が2件）", row)


def _plant_hard_names(register: Register) -> None:
    for case_id, text, name in (
        ("name_ivs_tsuji", "異体字列のある氏（辻）", ("辻\U000e0102", "甲太", "ツジ", "コウタ")),
        ("name_ivs_kuzu", "異体字列のある氏（葛）",
         ("葛\U000e0105山", "乙美", "クズヤマ", "オトミ")),
        ("name_ivs_watanabe", "異体字列のある氏（邉）",
         ("渡邉\U000e0118", "丙子", "ワタナベ", "ヘイコ")),
        ("name_compat_tsuka", "互換漢字のある氏（塚）",
         ("大\ufa10", "丁一", "オオツカ", "テイイチ")),
        ("name_compat_saki", "互換漢字のある氏（﨑）", ("山\ufa11", "戊子", "ヤマザキ", "ボコ")),
        ("name_plane2_yoshi", "第2面の漢字のある氏（𠮷）",
         ("\U00020bb7田", "己郎", "ヨシダ", "キロウ")),
        ("name_hashigo_taka", "はしご高のある氏（髙）", ("髙橋", "庚子", "タカハシ", "コウコ")),
        ("name_ivs_no_glyph", "IPAmj明朝に字形のない異体字列（葛+U+E0100）",
         ("葛\U000e0100野", "辛", "クズノ", "シン")),
    ):  # fmt: skip
        row = register.resident(register.new_household(), name, 40, 1 if name[1][-1] != "子" else 2)
        register.case(case_id, text, row)
    long_name = ("甲" * 49, "乙" * 50, "コウ" * 24, "オツ" * 25)
    row = register.resident(register.new_household(), long_name, 50, 1)
    register.case("name_of_100_characters", "氏名100字", row)


def plant_private_use_name(register: Register) -> None:
    """A name with a plane-16 character; the validator refuses codes not on the list."""
    name = ("\U0010de92田", "壬", "ガイダ", "ジン")
    row = register.resident(register.new_household(), name, 40, 1)
    register.case("name_plane16", "追加文字（第16面の私用領域）のある氏", row)


def _plant_odd_records(register: Register) -> None:
    home = register.new_household
    row = register.resident(
        home(), ("戊井", "花", "ボイ", "ハナ"), 36, 2,
        former_surname="己田", former_surname_kana="キダ",
    )  # fmt: skip
    register.case("former_surname", "旧氏の記載あり", row)
    row = register.resident(
        home(), ("己田", "未", "キダ", "ミ"), 29, 2, full_name_kana_confirmation="0"
    )
    register.case("kana_unconfirmed", "氏名の振り仮名が未確認", row)
    row = register.resident(
        home(), ("庚本", "ウメ", "カノエモト", "ウメ"), 86, 2, born_on="1940-01-01",
        born_on_unknown="1", born_on_as_written="昭和１５年月日不詳",
    )  # fmt: skip
    register.case("birth_date_unknown", "生年月日不詳（表記あり）", row)
    row = register.resident(
        home(), ("辛島", "葵", "カノトジマ", "アオイ"), 33, 2, sex_as_written=""
    )
    register.case("sex_notation_empty", "性別表記が空", row)
    row = register.resident(
        home(), ("壬生", "無", "ミブ", "ム"), 19, 1,
        registered_domicile="", registered_domicile_municipality_code="",
        registered_domicile_town="", registered_domicile_lot="", family_register_head="",
        family_register_head_surname="", family_register_head_given_name="",
    )  # fmt: skip
    register.case("no_family_register", "無戸籍（本籍・筆頭者が空）", row)
    row = register.resident(
        home(),
        ("癸見", "若", "ミズノトミ", "ワカ"),
        14,
        2,
        born_on=register.birthday(14).isoformat(),
    )
    register.case("under_15_with_card", "15歳未満（カードあり・世帯主）", row)
    row = register.resident(
        home(), ("甲野", "後見", "コウノ", "コウケン"), 70, 1, under_adult_guardianship="1"
    )
    register.seal(row)
    register.case("adult_ward_with_seal", "成年被後見人（印鑑登録は有効）", row)


def _plant_look_alikes(register: Register) -> None:
    born = register.birthday(38).isoformat()
    pair = [
        register.resident(
            register.new_household(), ("甲野", "一郎", "コウノ", "イチロウ"), 38, 1, born_on=born
        )
        for _ in range(2)
    ]
    register.case("same_name_same_birthday", "同姓同名・同じ生年月日の別人", *pair)
    head = register.resident(
        register.new_household(), ("乙川", "双子", "オトカワ", "ソウコ"), 35, 2
    )
    born = register.birthday(6).isoformat()
    twins = [
        register.member(head, ("乙川", given, "オトカワ", kana), 6, 1, CHILD, order, born_on=born)
        for order, (given, kana) in enumerate((("空", "ソラ"), ("海", "ウミ")), start=2)
    ]
    register.case("twins", "双子（生年月日・世帯が同じ）", *twins)


def _plant_sizes(register: Register) -> None:
    head = register.resident(register.new_household(), ("甲野", "太郎", "コウノ", "タロウ"), 44, 1)
    register.member(head, ("甲野", "花子", "コウノ", "ハナコ"), 42, 2, WIFE, 2)
    register.member(head, ("甲野", "次郎", "コウノ", "ジロウ"), 16, 1, CHILD, 3)
    register.member(head, ("甲野", "桜", "コウノ", "サクラ"), 12, 2, CHILD, 4)
    register.member(head, ("甲野", "キク", "コウノ", "キク"), 73, 2, ("52", "母"), 5)
    register.seal(head)
    register.case("family_of_five", "5人世帯（連記式が2枚になる）・印鑑登録あり", head)
    head = register.resident(register.new_household(), ("丙山", "大", "ヘイヤマ", "ダイ"), 47, 1)
    register.member(head, ("丙山", "妻子", "ヘイヤマ", "ツマコ"), 46, 2, WIFE, 2)
    for number in range(10):
        name = ("丙山", f"子{number + 1}".translate(WIDE), "ヘイヤマ", "コ")
        register.member(head, name, 20 - number, 1 + number % 2, CHILD, number + 3)
    register.case("household_of_twelve", "12人世帯", head)


def _plant_relations(register: Register) -> None:
    home = register.new_household
    head = register.resident(home(), ("丁谷", "主", "テイタニ", "アルジ"), 58, 1)
    lodger = register.member(head, ("戊井", "同居", "ボイ", "ドウキョ"), 24, 2, ("99", "同居人"), 2)
    kin = register.member(head, ("己田", "縁", "キダ", "エニシ"), 61, 1, ("96", "縁故者"), 3)
    register.case("cohabitant_and_ties", "同居人・縁故者のいる世帯", head, lodger, kin)
    head = register.resident(home(), ("庚本", "祖", "カノエモト", "ハジメ"), 74, 1)
    register.member(head, ("庚本", "子", "カノエモト", "シ"), 46, 1, CHILD, 2)
    wife = register.member(
        head, ("庚本", "嫁", "カノエモト", "ヨメ"), 45, 2, ("20,12", "子の妻"), 3
    )
    chain = register.member(
        head, ("辛島", "祖母", "カノトジマ", "ソボ"), 72, 2, ("20,12,52", "子の妻の母"), 4
    )
    register.case("relationship_chain_of_three", "続柄3連鎖（子の妻の母）", chain, wife)
    head = register.resident(home(), ("壬生", "咲", "ミブ", "サキ"), 39, 2)
    partner = register.member(
        head, ("癸見", "隼", "ミズノトミ", "ハヤト"), 41, 1, ("13", "夫（未届）"), 2
    )
    register.case("unregistered_husband", "夫（未届）のいる世帯", partner, head)
