"""The town in a box: what it finds, what it shows, whom it lets in. No BCL, no network."""

from __future__ import annotations

import csv
import io
import re
import threading
import zipfile
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcl_contract import recovery_page as box
from bcl_contract.linkage.layouts import load_interface

pytestmark = pytest.mark.requirement("R-032")
LAYOUTS = load_interface("1.0").files


def row_of(file_id: str, **values: str) -> list[str]:
    titles = [column.title_ja for column in LAYOUTS[file_id].columns]
    assert set(values) <= set(titles)
    return [values.get(title, "") for title in titles]


def resident(number: str, household: str, name: str, kana: str, **more: str) -> list[str]:
    values = {
        "宛名番号": number,
        "世帯番号": household,
        "氏名": name,
        "氏名_フリガナ": kana,
        "最新フラグ": "1",
        "住民状態": "1",
        "記載順位": "1",
        "生年月日": "1980-04-01",
        "住所_都道府県": "見本県",
        "住所_市区郡町村名": "サンプル市",
        "住所_町字": "本町一丁目",
        "住所_番地号表記": "２－３",
        "削除フラグ": "0",
    }
    return row_of("J01", **(values | more))


ROWS = [
    resident("000000000000001", "H1", "山田　太郎", "ヤマダ　タロウ", 記載順位="1"),
    resident("000000000000002", "H1", "山田　花子", "ヤマダ　ハナコ", 記載順位="2"),
    resident("000000000000002", "H1", "旧の　花子", "フルノ　ハナコ", 最新フラグ="0"),
    resident("000000000000003", "H2", "<script>alert(1)</script>", "スクリプト"),
    resident("000000000000004", "H3", "葛\U000e0102城　一", "カツラギ　ハジメ", 住民状態="2"),
    resident("000000000000005", "H4", "消えた　人", "キエタ　ヒト", 削除フラグ="1"),
    resident("000000000000006", "H5", "Smith John", "スミス　ジョン", 国籍名等="アメリカ合衆国"),
    resident("000000000000007", "H6", "不詳　生", "フショウ　ウ", 生年月日_不詳表記="昭和5年頃"),
]
MEASURES = [
    row_of("J04", 宛名番号="000000000000002", 最新フラグ="1", 対象者区分="1", 削除フラグ="0"),
    row_of("J04", 宛名番号="000000000000006", 最新フラグ="1", 対象者区分="3", 削除フラグ="0"),
    row_of(
        "J04",
        宛名番号="000000000000007",
        最新フラグ="1",
        対象者区分="1",
        削除フラグ="0",
        支援措置終了年月日="2026-01-31",
    ),
]


def package() -> tuple[zipfile.ZipFile, list[dict]]:
    target, files = io.BytesIO(), []
    with zipfile.ZipFile(target, "w") as archive:
        for file_id, rows in (("J01", ROWS), ("J04", MEASURES)):
            text = io.StringIO(newline="")
            heading = [column.title_ja for column in LAYOUTS[file_id].columns]
            csv.writer(text, quoting=csv.QUOTE_ALL).writerows([heading, *rows])
            archive.writestr(f"{file_id}.csv", text.getvalue())
            files.append({"name": f"{file_id}.csv", "file_id": file_id, "rows": len(rows)})
    return zipfile.ZipFile(target), files


@pytest.fixture(scope="module")
def town() -> box.Town:
    return box.Town(*package(), "2026-11-23T20:00:00+09:00")


def names(town: box.Town, **asked: str) -> list[str]:
    words = {"name": "", "born": "", "address": "", "number": ""} | asked
    rows, _ = town.search(**words)
    return [row["氏名"] for row in rows]


def test_town__counts_only_those_who_live_there(town) -> None:
    assert town.counts() == (5, 4)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"name": "山田"}, ["山田　太郎", "山田　花子"]),
        ({"name": "やまだ はな"}, ["山田　花子"]),
        ({"name": "ﾔﾏﾀﾞ"}, ["山田　太郎", "山田　花子"]),
        ({"name": "葛城"}, ["葛\U000e0102城　一"]),
        ({"name": "ＳＭＩＴＨ"}, ["Smith John"]),
        ({"name": "旧の"}, []),
        ({"name": "消えた"}, []),
        ({"number": "7"}, ["不詳　生"]),
        ({"name": "山田", "born": "1980-04-02"}, []),
        ({"name": "john", "address": "本町一丁目2-3"}, ["Smith John"]),
        ({"name": "山田", "address": "本町一丁目2-3"}, []),  # a protected household
        ({"name": "%"}, []),
        ({}, []),
    ],
)
def test_search__folded_words__find_the_latest_row_of_each(town, asked, found) -> None:
    assert sorted(names(town, **asked)) == sorted(found)


@given(st.text())
def test_fold__twice_is_once(text: str) -> None:
    assert box.fold(box.fold(text)) == box.fold(text)


def test_protection__counts_while_it_runs_and_never_for_the_other_side(town) -> None:
    assert town.protected == {"000000000000002"}


def test_protected_household__shows_its_place_on_the_screen_but_in_no_list_and_on_no_paper(
    browser,
) -> None:
    found = browser.post("/search", data={"name": "山田"}).text
    assert found.count("支援措置のため一覧には出しません") == 2 and "本町一丁目２" not in found
    household = browser.post("/household", data={"household": "H1"}).text
    assert household.count('<span class="on-screen">見本県サンプル市本町一丁目２－３</span>') == 2
    assert household.count("支援措置のため印刷しません") == 2
    assert "@media print{" in box.STYLE and ".on-screen{display:none}" in box.STYLE
    other = browser.post("/household", data={"household": "H5"}).text
    assert "on-screen" not in other and "見本県サンプル市本町一丁目２－３" in other


@pytest.mark.parametrize(
    ("given_whole", "given_parts", "shown"),
    [
        ("見本県本町１番地", ("本町", "１番地"), "見本県本町１番地"),
        ("", ("本町", "１番地"), "本町１番地"),
        ("", ("", ""), ""),
    ],
)
def test_domicile__given_whole_and_in_parts__is_shown_once(given_whole, given_parts, shown) -> None:
    row = {"本籍": given_whole, "本籍_町字": given_parts[0]}
    assert box.domicile_of(row | {"本籍_地番号または、街区符号": given_parts[1]}) == shown


def test_shown_date__eras_and_what_is_unknown() -> None:
    for text, shown in (
        ("2019-05-01", "令和元年5月1日"),
        ("2019-04-30", "平成31年4月30日"),
        ("1989-01-07", "昭和64年1月7日"),
        ("1926-12-25", "昭和元年12月25日"),
        ("", ""),
    ):
        assert box.shown_date({"生年月日": text}, "生年月日") == shown
    assert box.shown_date({"生年月日_不詳表記": "昭和5年頃"}, "生年月日") == "昭和5年頃"


@pytest.fixture(scope="module")
def running(town) -> Iterator[box.Box]:
    made = box.Box(town, "999997")
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def browser(running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, trust_env=False) as client:
        opened = client.get(running.link)
        assert opened.status_code == 303 and "HttpOnly" in opened.headers["Set-Cookie"]
        client.headers["Origin"] = running.url
        yield client


def test_page__search_and_household__are_escaped_and_marked_as_no_certificate(browser) -> None:
    found = browser.post("/search", data={"name": "script"}).text
    assert "&lt;script&gt;" in found and "<script>" not in found
    household = browser.post("/household", data={"household": "H1"}).text
    assert household.index("山田　太郎") < household.index("山田　花子")
    assert "証明書ではありません" in household and "支援措置のある世帯です" in household
    assert "支援措置" not in browser.post("/household", data={"household": "H5"}).text
    assert "旧の" not in household
    first = browser.get("/")
    assert "999997" in first.text and "no-store" in first.headers["Cache-Control"]
    assert "default-src 'none'" in first.headers["Content-Security-Policy"]
    assert not re.search(r"<script|\sstyle=|\son[a-z]+=|https?://", first.text)
    assert browser.post("/household", data={"household": "H9"}).status_code == 404


def test_page__for_strangers__stays_shut(running, browser) -> None:
    with httpx.Client(base_url=running.url, trust_env=False) as stranger:
        for answer in (
            stranger.get("/"),
            stranger.get("/open/wrong"),
            stranger.get("/", headers={"Cookie": "town=x"}),
            stranger.post("/search", data={"name": "山田"}, headers={"Origin": running.url}),
        ):
            assert answer.status_code == 403 and "山田" not in answer.text
    rebound = browser.get("/", headers={"Host": "evil.example"})
    assert rebound.status_code == 403
    foreign = browser.post("/search", data={"name": "山田"}, headers={"Origin": "http://evil"})
    assert foreign.status_code == 403
    assert browser.post("/search", content=b"x" * 20_000).status_code == 413
    assert running.server_address[0] == "127.0.0.1"
