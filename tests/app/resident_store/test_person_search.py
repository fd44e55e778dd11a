"""Searching persons in part equals looking at every row in clear."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st
from store_world import FILES, Row, Sender, resident

from bcl.foundation import tenancy
from bcl.resident_store import api as store
from bcl.resident_store import fragment_index, fragments, person_texts
from bcl_contract import characters
from bcl_contract.refusals import Refusal

NAMES = [
    "山田　太郎", "山田　太", "田中　一", "山中　一郎", "渡邉󠄂　花子", "渡邉　花", "髙橋　サブロウ",
    "𠮷田　一郎", "ｽﾐｽ　ｼﾞｮﾝ", "SMITH　JOHN", "一", "斎藤　二三", "齋藤　ひろし",
]
KANA = ["ヤマダ　タロウ", "タナカ　ハジメ", "スミス　ジョン", "サイトウ　フミ", "ヨシダ　ー",
        "キョウコ"]
TOWNS = ["本町", "本町一丁目", "二日市町", "緑が丘", "霞ヶ関"]
LOTS = ["1番2号", "1番23号", "２番地の３", "12-3", "一番地", ""]


def naive(
    rows: list[Row], *, name: str | None, kana: str | None, birth_date: str | None,
    address: str | None, match: str,
) -> list[int]:
    """The addressee numbers of the rows that match: every row looked at, nothing shared."""
    found = []
    for row in rows:
        names = [row.get(c, "") for c in (
            "full_name", "full_name_roman", "full_name_kanji", "former_surname", "alias",
            "preferred_full_name")]
        readings = [row.get(c, "") for c in (
            "full_name_kana", "former_surname_kana", "alias_kana", "preferred_full_name_kana")]
        where = "".join(row.get(f"address_{c}", "") for c in (
            "prefecture", "municipality_name", "town", "lot_as_written", "building"))
        fits = [
            name is None or any(
                test(match, characters.fold_name(n), characters.fold_name(name)) for n in names if n
            ),
            kana is None or any(
                test(match, characters.fold_kana(k), characters.fold_kana(kana))
                for k in readings if k
            ),
            birth_date is None or row.get("born_on") == birth_date,
            address is None or in_address(address, where),
        ]
        if all(fits):
            found.append(int(row["addressee_number"]))
    return sorted(found)


def test(match: str, text: str, wanted: str) -> bool:
    return {
        "contains": wanted in text, "prefix": text.startswith(wanted),
        "suffix": text.endswith(wanted), "exact": wanted == text,
    }[match]


test.__test__ = False  # type: ignore[attr-defined]


def in_address(wanted: str, where: str) -> bool:
    folded = re.sub("(?<=[0-9])丁目$", "", characters.fold_address(wanted))
    pattern = re.escape(folded)
    if folded[0].isdigit():
        pattern = "(?<![0-9])" + pattern
    if folded[-1].isdigit():
        pattern += "(?![0-9])"
    return re.search(pattern, characters.fold_address(where)) is not None


def some_town(chance: random.Random, count: int) -> list[Row]:
    rows = []
    for number in range(1, count + 1):
        name = chance.choice(NAMES)
        extra = {"alias": chance.choice(NAMES)} if chance.random() < 0.1 else {}
        rows.append(resident(
            number, household=number, full_name=name, head_of_household_name=name,
            full_name_kana=chance.choice(KANA), address_town=chance.choice(TOWNS),
            address_lot_as_written=chance.choice(LOTS),
            born_on=f"19{chance.randint(50, 52)}-02-0{chance.randint(1, 9)}",
            resident_record_code=f"{10_000_000_000 + number}", **extra,
        ))
    return rows


def index(town: str) -> None:
    with tenancy.scope(town):
        while fragment_index.advance(town):
            pass


def numbers(found: store.PersonSearchResult | Refusal) -> list[int]:
    assert isinstance(found, store.PersonSearchResult), found
    assert not found.more
    return sorted(int(hit.addressee_number) for hit in found.hits)


def questions(chance: random.Random) -> Mapping[str, str | None]:
    def piece(texts: list[str]) -> str:
        text = chance.choice(texts)
        start = chance.randrange(len(text))
        return text[start : start + chance.randint(1, 4)]

    asked: dict[str, str | None] = {
        "name": piece(NAMES) if chance.random() < 0.5 else None,
        "kana": piece(KANA) if chance.random() < 0.4 else None,
        "birth_date": "1951-02-03" if chance.random() < 0.2 else None,
        "address": None,
    }
    if chance.random() < 0.3:
        asked["address"] = chance.choice(TOWNS) + chance.choice(LOTS)
    return asked


@pytest.mark.requirement("R-056")
@pytest.mark.parametrize("indexed", [True, False])
def test_search__of_any_parts__equals_a_look_at_every_row(town: str, indexed: bool) -> None:
    chance = random.Random(7)
    rows = some_town(chance, 300)
    Sender(town).send({"J01": rows})
    if indexed:
        index(town)
    hits = 0
    for _ in range(80 if indexed else 25):
        asked = dict(questions(chance))
        match = chance.choice(list(store.Match))
        found = store.search_persons(town, **asked, match=match, limit=500)
        folded = [
            characters.fold_name(asked["name"]) if asked["name"] is not None else None,
            characters.fold_kana(asked["kana"]) if asked["kana"] is not None else None,
        ]
        if "" in folded or not any(asked.values()):
            assert isinstance(found, Refusal) and found.code == "RESIDENT_SEARCH_EMPTY"
            continue
        wanted = naive(rows, match=match.value, **asked)
        assert numbers(found) == wanted
        hits += len(wanted)
    assert hits > 100  # the questions are such that many match


@pytest.mark.requirement("R-056")
def test_search__of_variants_and_other_names__finds_them(town: str) -> None:
    rows = [
        resident(1, household=1, full_name="渡邉󠄂　花子", former_surname="葛󠄀城"),
        resident(2, household=2, full_name="渡邉　花"),
        resident(3, household=3, full_name="SMITH JOHN", alias="山田　じょん"),
    ]
    Sender(town).send({"J01": rows})
    index(town)
    assert numbers(store.search_persons(town, name="渡邉花")) == [1, 2]
    assert numbers(store.search_persons(town, name="花", match="suffix")) == [2]
    assert numbers(store.search_persons(town, name="葛城", match="exact")) == [1]
    assert numbers(store.search_persons(town, name="ｓｍｉｔｈ")) == [3]
    assert numbers(store.search_persons(town, name="田ジョ")) == [3]  # kana of either kind
    assert numbers(store.search_persons(town, kana="ジョン")) == []  # a name is no reading
    hit = store.search_persons(town, name="ジョン").hits  # type: ignore[union-attr]
    assert [each.values["full_name"] for each in hit] == ["SMITH JOHN"]


@pytest.mark.requirement("R-056")
def test_search__gives_what_was_in_force_then__and_history_only_when_asked(town: str) -> None:
    sender = Sender(town)
    before = resident(1, household=1, full_name="旧名　一郎")
    sender.send({"J01": [before, resident(2, household=2)]})
    past = before | {"latest": "0"}
    now = before | {"history_number": "00002", "full_name": "新名　一郎"}
    sender.send({"J01": [past, now, resident(2, household=2)]})
    index(town)
    assert numbers(store.search_persons(town, name="旧名")) == []
    assert numbers(store.search_persons(town, name="旧名", include_history=True)) == [1]
    assert numbers(store.search_persons(town, name="旧名", as_of=1)) == [1]
    assert numbers(store.search_persons(town, name="新名", as_of=1)) == []
    assert numbers(store.search_persons(town, addressee_number=f"{1:015d}")) == [1]
    assert numbers(store.search_persons(town, addressee_number=f"{1:015d}", name="太郎")) == []


def test_search__by_record_code_and_date__is_exact(town: str) -> None:
    rows = some_town(random.Random(1), 50)
    Sender(town).send({"J01": rows})
    index(town)
    assert numbers(store.search_persons(town, resident_record_code="10000000007")) == [7]
    assert numbers(store.search_persons(town, resident_record_code="0000000007")) == []
    born = [int(r["addressee_number"]) for r in rows if r["born_on"] == "1951-02-03"]
    assert numbers(store.search_persons(town, birth_date="1951-02-03")) == born
    assert numbers(store.search_persons(town, birth_date="nonsense")) == []


def test_search__beyond_the_limit__says_so_and_keeps_its_order(town: str) -> None:
    rows = [resident(n, household=n) for n in range(1, 300)]
    Sender(town).send({"J01": rows})
    index(town)
    first = store.search_persons(town, name="住民", limit=50)
    again = store.search_persons(town, name="住民", limit=50)
    assert isinstance(first, store.PersonSearchResult) and first == again
    assert first.more and len(first.hits) == 50
    ids = [hit.record_id for hit in first.hits]
    assert ids == sorted(ids)
    assert not store.search_persons(town, name="住民", limit=299).more  # type: ignore[union-attr]
    (version,) = store.find_person(town, first.hits[0].addressee_number)
    assert first.hits[0].record_key == version.record_key
    assert first.hits[0].person_key == version.person_key


@pytest.mark.requirement("R-173")
def test_search__of_the_same_names_in_two_towns__stays_in_its_town(
    town: str, other_town: str
) -> None:
    for code in (town, other_town):
        Sender(code).send({"J01": [resident(1, household=1, municipality_code=code)]})
        index(code)
    found = store.search_persons(town, name="住民")
    assert numbers(found) == [1]
    with tenancy.scope(town), connection.cursor() as db:
        db.execute("SELECT count(*) FROM resident_store_fragmentsegment")
        assert db.fetchone()[0] == 1


def test_large_load__not_yet_indexed__is_refused_but_dates_and_numbers_work(
    town: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bcl.resident_store import person_search

    monkeypatch.setattr(person_search, "_UNINDEXED_PAGES_READ", 1)
    rows = some_town(random.Random(1), 300)
    Sender(town).send({"J01": rows})
    refused = store.search_persons(town, name="山")
    assert isinstance(refused, Refusal) and refused.code == "RESIDENT_SEARCH_NOT_READY"
    wanted = naive(rows, name="山", kana=None, birth_date="1951-02-03", address=None,
                   match="contains")
    assert numbers(store.search_persons(town, name="山", birth_date="1951-02-03")) == wanted
    assert numbers(store.search_persons(town, addressee_number=f"{9:015d}")) == [9]
    index(town)
    assert isinstance(store.search_persons(town, name="山"), store.PersonSearchResult)


def test_many_small_loads__keep_few_segments_and_equal_answers(
    town: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fragment_index, "SEGMENT_PAGES", 8)
    sender, rows = Sender(town), some_town(random.Random(3), 600)
    for start in range(0, 600, 20):
        sender.send({"J01": rows[start : start + 20]}, mode="differential")
        index(town)
    with tenancy.scope(town):
        segments = fragment_index.list_segments(town, "J01")
    assert len(segments) <= 4 * (30 // 8 + 1)
    assert sum(len(segment.pages) for segment in segments) == 30
    for name in ("一", "山田", "ジヨン"):
        wanted = naive(rows, name=name, kana=None, birth_date=None, address=None, match="contains")
        assert numbers(store.search_persons(town, name=name, limit=500)) == wanted


@given(st.lists(st.integers(1, fragment_index.SEGMENT_PAGES), max_size=30))
def test_runs_to_merge__any_sizes__end_with_few_segments(sizes: list[int]) -> None:
    while (run := fragment_index.run_to_merge(sizes)) is not None:
        total = sum(sizes[run])
        assert run.stop - run.start >= 4 and total <= fragment_index.SEGMENT_PAGES
        sizes = [*sizes[: run.start], total, *sizes[run.stop :]]
    full = sum(sizes) // fragment_index.SEGMENT_PAGES
    assert len(sizes) <= 4 * (full + 1)


_TEXT = st.text("山田太郎一ヤマ1-2", min_size=1, max_size=6)


@settings(deadline=None)
@given(st.lists(_TEXT, min_size=1, max_size=8), _TEXT, st.sampled_from(list(fragments.Match)))
def test_fragments__of_a_search__stand_in_every_text_that_matches(
    texts: list[str], wanted: str, match: fragments.Match
) -> None:
    import numpy as np

    from bcl.resident_store.blind_keys import BlindKeys

    keys = BlindKeys(identity=b"i" * 32, search=b"s" * 32)
    entries = fragments.fragments_of_texts(fragments.NAME, texts, np.arange(len(texts)))
    blocks = fragments.pack(keys, entries)
    searched = np.array(fragments.fragments_of_search(fragments.NAME, wanted, match), np.uint64)
    arrays = []
    for key in fragments.blind(keys, searched).tolist():
        inside = [content for first, last, content in blocks if first <= key <= last]
        found = [fragments.ordinals_in(content, key) for content in inside]
        arrays.append(next((each for each in found if each is not None), np.zeros(0, np.uint16)))
    candidates = set(fragments.in_all(arrays).tolist())
    matching = {n for n, text in enumerate(texts) if test(match.value, text, wanted)}
    assert matching <= candidates
    if len(wanted) == 1 and match is not fragments.Match.EXACT:
        assert matching == candidates


def test_folding_many__equals_folding_each() -> None:
    texts = [town + lot for town in TOWNS for lot in LOTS] + NAMES + KANA
    for fold in (characters.fold_address, characters.fold_name, characters.fold_kana):
        assert fragment_index.fold_many(fold, texts) == {text: fold(text) for text in texts}


def test_conditions__do_not_show_their_values() -> None:
    shown = repr(person_texts.PersonConditions(name="山田", birth_date="1980-01-01"))
    assert shown == "PersonConditions(name, birth_date)"
    assert FILES["J01"].has(person_texts.RECORD_CODE_COLUMN)
