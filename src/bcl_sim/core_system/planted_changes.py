"""Planted edge cases about changes of record, measures and blocks (domain part 13, third row)."""

from __future__ import annotations

from bcl_sim.core_system import numbers
from bcl_sim.core_system.planted_builder import Register, empty_row, origin_columns
from bcl_sim.core_system.planted_persons import CHILD, WIFE
from bcl_sim.core_system.store import Row

_SECOND = {"history_number": "2"}


def plant_changes(register: Register) -> None:
    """Moves, deaths, corrections, restored and rewritten records."""
    _plant_moving_out(register)
    _plant_ended(register)
    _plant_rewritten(register)
    _plant_deaths_of_heads(register)
    home = register.new_household
    row = register.resident(
        home(), ("甲野", "今日", "コウノ", "キョウ"), 28, 2, came_on=register.today.isoformat()
    )
    register.without_card.add(row["addressee_number"])
    register.case("moved_in_today_no_card", "今日転入（カード未連携）", row)
    head = register.resident(home(), ("乙川", "審", "オトカワ", "シン"), 40, 1, change_pending="1")
    wife = register.member(head, ("乙川", "査", "オトカワ", "サ"), 39, 2, WIFE, 2)
    register.case("change_pending_household", "異動処理中の世帯（世帯主の行に印）", head, wife)


def _changed(row: Row, reason: str, day: str, **columns: str) -> Row:
    """Turn a planted row into its second history entry, for `reason` on `day`."""
    row |= _SECOND | {
        "change_reason": reason,
        "changed_on": day,
        "change_notified_on": day,
        "operated_on": day,
    }
    row |= columns
    return row


def _plant_moving_out(register: Register) -> None:
    for case_id, text, offset in (
        ("moving_out_before_planned", "転出届出済・予定日の前", 10),
        ("moving_out_on_planned_day", "転出届出済・予定日の当日", 0),
        ("moving_out_after_planned", "転出届出済・予定日を過ぎて未確定", -5),
    ):
        row = register.resident(register.new_household(), ("丙山", "転", "ヘイヤマ", "テン"), 30, 1)
        notified = register.day(offset - 14).isoformat()
        row |= {
            "moving_out_notified_on": notified,
            "moving_out_planned_on": register.day(offset).isoformat(),
            "operated_on": notified,
        }
        row |= origin_columns(3, "planned_destination")
        register.seal(row)
        register.case(case_id, text, row)
    row = register.resident(register.new_household(), ("丁谷", "残", "テイタニ", "ザン"), 52, 2)
    register.earlier(row | _SECOND)
    _changed(row, "26", register.day(-20).isoformat())
    register.case("moving_out_cancelled", "転出取消", row)


def _removed(register: Register, row: Row, state: str, reason: str, offset: int) -> Row:
    """Turn a planted row into a removed record, keeping the earlier one as history."""
    register.earlier(row | _SECOND)
    day = register.day(offset).isoformat()
    return _changed(
        row, reason, day,
        resident_state=state, removed_record="1", removed_record_registered_on=day,
        removal_reason=reason, removal_notified_on=day, removal_changed_on=day,
        removal_changed_on_unknown="0", entry_order="",
    )  # fmt: skip


def _plant_ended(register: Register) -> None:
    home = register.new_household
    row = register.resident(home(), ("戊井", "故", "ボイ", "コ"), 88, 1)
    register.card(row, link_status="2", revoked_on=register.day(-30).isoformat())
    register.case("deceased", "死亡者（除票）", _removed(register, row, "3", "21", -30))
    row = register.resident(home(), ("己田", "出", "キダ", "デ"), 26, 2)
    register.card(row)
    _removed(register, row, "2", "20", -15)
    row |= {
        "moving_out_notified_on": register.day(-25).isoformat(),
        "moving_out_planned_on": register.day(-15).isoformat(),
        "moving_out_confirmed_on": register.day(-15).isoformat(),
    } | origin_columns(7, "confirmed_destination")
    register.case("moved_out", "転出者（除票・カードの紐付が残る）", row)
    row = register.resident(home(), ("庚本", "職権", "カノエモト", "ショッケン"), 61, 1)
    register.case("removed_by_authority", "職権消除", _removed(register, row, "9", "22", -90))
    row = register.resident(home(), ("辛島", "復", "カノトジマ", "フク"), 43, 1)
    register.earlier(row | _SECOND)
    removed = dict(row)
    _changed(
        removed, "22", register.day(-60).isoformat(), resident_state="9", removed_record="1",
        removal_reason="22", removal_changed_on=register.day(-60).isoformat(), latest="0",
    )  # fmt: skip
    register.add("J01", removed)
    _changed(row, "15", register.day(-40).isoformat(), history_number="3")
    register.case("removed_then_restored", "職権消除のあと回復", row)


def _plant_rewritten(register: Register) -> None:
    home, day = register.new_household, register.day(-45).isoformat()
    row = register.resident(home(), ("壬生", "改", "ミブ", "カイ"), 57, 1)
    register.earlier(row | _SECOND)
    _changed(row, "50", day, rewrite_number="2", rewritten_on=day)
    register.case("rewritten", "改製された住民票", row)
    row = register.resident(home(), ("癸見", "番", "ミズノトミ", "バン"), 49, 2)
    earlier_code = numbers.resident_record_code(9_000, register.seed)
    register.earlier(row | _SECOND, resident_record_code=earlier_code)
    _changed(row, "46", day)
    register.case("resident_record_code_changed", "住民票コードの変更", row)
    row = register.resident(home(), ("甲野", "個", "コウノ", "コ"), 37, 1)
    register.earlier(row | _SECOND)
    _changed(row, "45", day)
    register.case("individual_number_changed", "個人番号の変更（番号そのものは持たない）", row)
    row = register.resident(home(), ("乙川", "帰", "オトカワ", "キ"), 44, 1)
    register.earlier(row | _SECOND, **_before_naturalization(row))
    _changed(row, "13", day)
    register.case("naturalized", "帰化（外国人の行から日本人の行へ）", row)
    row = register.resident(home(), ("丙山", "訂", "ヘイヤマ", "テイ"), 65, 2)
    register.earlier(row | _SECOND, changed_on=register.day(-100).isoformat())
    _changed(row, "40", register.day(-130).isoformat(), operated_on=register.day(-3).isoformat())
    register.case("date_corrected_backwards", "日付が逆転する訂正（職権修正）", row)


def _before_naturalization(row: Row) -> dict[str, str]:
    """The columns of the foreign resident this person was."""
    cleared = {name: "" for name in row if name.startswith(("registered_domicile", "family_reg"))}
    return cleared | {
        "resident_kind": "2",
        "full_name": "SUHARTO RAM SAMPLE",
        "full_name_roman": "SUHARTO RAM SAMPLE",
        "surname": "",
        "given_name": "",
        "full_name_kana": "スハルト　ラム",
        "preferred_full_name": "SUHARTO RAM SAMPLE",
        "preferred_full_name_kana": "スハルト　ラム",
        "head_of_household_name": "SUHARTO RAM SAMPLE",
        "born_on_era": "",
        "became_resident_on": "",
        "became_resident_on_unknown": "",
        "became_foreign_resident_on": row["became_resident_on"],
        "nationality_country_code": "IDN",
        "nationality_name": "インドネシア",
        "article_30_45_kind": "1",
        "full_name_kana_confirmation": "",
    }


def _plant_deaths_of_heads(register: Register) -> None:
    head = register.resident(register.new_household(), ("丁谷", "亡", "テイタニ", "ボウ"), 79, 1)
    wife = register.member(head, ("丁谷", "継", "テイタニ", "ツギ"), 76, 2, WIFE, 2)
    register.earlier(wife | _SECOND)
    _removed(register, head, "3", "21", -1)
    _changed(
        wife, "31", register.day(-1).isoformat(), relationship_code_1="02",
        relationship_as_written="世帯主", entry_order="1", head_of_household_name=wife["full_name"],
    )  # fmt: skip
    register.case("head_died_successor_same_day", "世帯主の死亡と世帯主変更が同じ日", wife, head)


def plant_headless_household(register: Register) -> None:
    """The head has died and nobody has taken over: rule V01 holds this household."""
    head = register.resident(register.new_household(), ("戊井", "逝", "ボイ", "セイ"), 81, 1)
    wife = register.member(head, ("戊井", "遺", "ボイ", "イ"), 78, 2, WIFE, 2)
    _removed(register, head, "3", "21", 0)
    wife |= {
        "relationship_code_1": "01", "relationship_as_written": "本人", "entry_order": "1",
        "head_of_household_name": "", "change_pending": "1",
    }  # fmt: skip
    register.case("head_just_died", "世帯主が死亡した直後（世帯主不在・処理中）", wife, head)


def plant_measures(register: Register) -> None:
    """Protective measures (支援措置) in every stage."""
    head = register.resident(register.new_household(), ("己田", "相手", "キダ", "アイテ"), 41, 1)
    wife = register.member(head, ("己田", "申出", "キダ", "モウシデ"), 38, 2, WIFE, 2)
    child = register.member(head, ("己田", "併", "キダ", "ヘイ"), 9, 2, CHILD, 3)
    start = register.day(-40)
    register.measure(wife, started=start)
    register.measure(child, started=start, measure_target_kind="2")
    register.measure(head, started=start, measure_target_kind="3")
    register.case("measure_in_one_household", "支援措置: 申出者・併せて・相手方が同じ世帯",
                  wife, child, head)  # fmt: skip
    for case_id, text, offset, columns in (
        ("measure_started_today", "支援措置が今日始まった", 0, {}),
        ("measure_end_passed", "支援措置の終了日を過ぎたが終了の連携がない", -400, {}),
        ("measure_provisional", "支援措置（仮支援）", -3, {"measure_kind": "1"}),
        ("measure_without_end", "支援措置（終了日なし・ストーカー）", -100,
         {"measure_ended_on": "", "measure_reason": "2"}),
        ("measure_ended", "支援措置が終了した（措置区分3）", -500,
         {"measure_kind": "3", "measure_ended_on": register.day(-135).isoformat()}),
    ):  # fmt: skip
        row = register.resident(
            register.new_household(), ("庚本", "護", "カノエモト", "マモル"), 33, 2
        )
        register.measure(row, started=register.day(offset), **columns)
        register.case(case_id, text, row)
    row = register.resident(register.new_household(), ("辛島", "延", "カノトジマ", "ノブ"), 35, 2)
    first = register.day(-380)
    register.measure(row, started=first, latest="0")
    register.measure(
        row, started=first, history_number="2", operated_on=register.day(-16).isoformat(),
        measure_ended_on=register.day(350).isoformat(),
    )  # fmt: skip
    register.case("measure_extended", "支援措置の延長（履歴2行）", row)


def plant_blocks(register: Register) -> None:
    """Issuance blocks (発行抑止) of each scope."""
    home = register.new_household
    row = register.resident(home(), ("壬生", "止", "ミブ", "トメ"), 48, 1)
    register.block("1", addressee_number=row["addressee_number"])
    register.case("block_person", "発行抑止（個人・全種類）", row)
    head = register.resident(home(), ("癸見", "居所", "ミズノトミ", "イドコ"), 55, 1)
    register.member(head, ("癸見", "不明", "ミズノトミ", "フメイ"), 53, 2, WIFE, 2)
    register.block("2", block_scope="2", household_number=head["household_number"],
                   block_reason="35")  # fmt: skip
    register.case("block_household", "発行抑止（世帯・実態調査）", head)
    row = register.resident(home(), ("甲野", "印止", "コウノ", "インシ"), 62, 2)
    seal = register.seal(row)
    register.block("3", block_scope="3",
                   seal_registration_number=seal["seal_registration_number"])  # fmt: skip
    register.case("block_seal", "発行抑止（印鑑登録）", row)
    row = register.resident(home(), ("乙川", "税止", "オトカワ", "ゼイシ"), 51, 1)
    register.block("4", block_scope="4", addressee_number=row["addressee_number"],
                   tax_year=str(register.today.year))  # fmt: skip
    register.case("block_tax_year", "発行抑止（税年度）", row)
    row = register.resident(home(), ("丙山", "済", "ヘイヤマ", "スミ"), 46, 2)
    register.block(
        "5", addressee_number=row["addressee_number"],
        block_starts_at=f"{register.day(-30).isoformat()}T09:00:00+09:00",
        block_ends_at=f"{register.day(-2).isoformat()}T17:15:00+09:00",
    )  # fmt: skip
    register.case("block_ended", "発行抑止の期間が過ぎた人", row)
    row = register.resident(home(), ("丁谷", "先", "テイタニ", "サキ"), 39, 1)
    register.block(
        "6", addressee_number=row["addressee_number"],
        block_starts_at=f"{register.day(3).isoformat()}T09:00:00+09:00",
    )  # fmt: skip
    register.case("block_in_future", "発行抑止がこれから始まる人", row)


def plant_nonregistered(register: Register) -> None:
    """A counterparty of a measure who is not on the register (J08)."""
    row = empty_row("J08") | {
        "municipality_code": register.facts.municipality_code,
        "addressee_number": "799999999999999",
        "full_name": "戊井　外",
        "full_name_kana": "ボイ　ソト",
        "born_on_unknown": "1",
        "born_on_as_written": "不詳",
        "deleted": "0",
        "operator_id": "OP0001",
        "operated_on": register.day(-20).isoformat(),
        "operated_time": "10:00:00",
    }
    register.add("J08", row)
    register.measure(row, started=register.day(-20), measure_target_kind="3")
    register.case("measure_counterparty_not_registered", "住登外の相手方",
                  row | {"household_number": ""})  # fmt: skip
