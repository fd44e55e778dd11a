"""町の箱（page.py）: the town's residents on one laptop, from a recovery package alone.

Started by `python reader.py PACKAGE --key KEYFILE --page`; lies beside `reader.py`. One file,
Python 3.9 or later, standard library only, no network: served to this machine's own browser.

Nothing is written to disk. Residents lie compressed in memory (half a gigabyte for a million).
What is searched for travels in form bodies, never in addresses, so no browser history keeps it.
"""

# ruff: noqa: T201 - the line with the link is printed for the person at the keyboard
from __future__ import annotations

import csv
import hmac
import html
import io
import json
import re
import secrets
import sqlite3
import time
import unicodedata
import zipfile
import zlib
from datetime import date
from http import cookies
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs

RESIDENTS, MEASURES = "J01", "J04"
SHOWN = 50
LARGEST_FORM = 10_000
KEPT = (
    "宛名番号", "世帯番号", "記載順位", "住民種別", "住民状態", "住民票コード", "氏名",
    "氏名_フリガナ", "旧氏", "旧氏_フリガナ", "通称", "通称_フリガナ", "性別", "性別表記",
    "生年月日", "生年月日_不詳フラグ", "生年月日_不詳表記", "続柄表記", "世帯主氏名",
    "住所_都道府県", "住所_市区郡町村名", "住所_町字", "住所_番地号表記", "住所_方書",
    "住所_郵便番号", "住民となった年月日", "住民となった年月日_不詳表記", "住所を定めた年月日",
    "住所を定めた年月日_不詳表記", "住所を定めた届出年月日", "転入前住所_都道府県",
    "転入前住所_市区郡町村名", "転入前住所_町字", "転入前住所_番地号表記", "転入前住所_方書",
    "転入前住所_国外住所", "本籍", "本籍_町字", "本籍_地番号または、街区符号", "戸籍_筆頭者",
    "国籍名等", "在留資格名", "在留期間表記", "在留期間の満了の日", "在留カード等番号",
    "異動年月日", "消除の異動年月日", "消除の異動年月日_不詳表記", "備考",
)  # fmt: skip
STATES = {"1": "住民", "2": "転出", "3": "死亡", "9": "その他の消除"}
SEXES = {"1": "男", "2": "女", "0": "不明", "9": "その他"}
ERAS = (
    ("令和", date(2019, 5, 1)),
    ("平成", date(1989, 1, 8)),
    ("昭和", date(1926, 12, 25)),
    ("大正", date(1912, 7, 30)),
    ("明治", date(1868, 1, 25)),
)
STYLE = (
    "*{box-sizing:border-box}body{margin:0 auto;max-width:62rem;padding:1rem 1.25rem 4rem;"
    "color:#1a1a1a;background:#fff;line-height:1.7;overflow-wrap:anywhere;"
    "font-family:'Noto Sans JP','Noto Sans CJK JP','Hiragino Sans','Yu Gothic UI',sans-serif}"
    "h1{font-size:1.75rem;line-height:1.4}h2{font-size:1.25rem}a{color:#0017c1}"
    ":focus-visible{outline:4px solid #000;outline-offset:2px;box-shadow:0 0 0 2px #ffd43d}"
    ".copy{border:2px solid #1a1a1a;padding:.25rem 1rem;font-weight:700;text-align:center}"
    ".warn{border:2px solid #ce0000;border-left-width:8px;border-radius:8px;padding:.75rem 1rem;"
    "background:#fdeeee}label{display:block;font-weight:700}.help{color:#4d4d4d;margin:0}"
    "input{display:block;font:inherit;width:100%;max-width:28rem;min-height:48px;"
    "padding:.5rem .75rem;border:1px solid #767676;border-radius:8px}p.field{margin:0 0 1rem}"
    "button{font:inherit;font-weight:700;min-height:44px;padding:.25rem 1.25rem;border-radius:8px;"
    "border:1px solid #0017c1;background:#0017c1;color:#fff;cursor:pointer}"
    "button.link{background:#fff;color:#0017c1}.scroll{overflow-x:auto}"
    "table{border-collapse:collapse;width:100%;margin:0 0 1.25rem}caption{text-align:left;"
    "font-weight:700;padding:.5rem 0}th,td{text-align:left;vertical-align:top;padding:.5rem .75rem;"
    "border:1px solid #949494}th{background:#f2f2f2;font-weight:700}.member th{width:12rem}"
    ".found th,.found td:not(.place){white-space:nowrap}.on-paper{display:none}"
    "@media (max-width:48rem){.found thead{display:none}.found,.found tbody,.found tr,.found th,"
    ".found td{display:block;border:0}.found tr{border:1px solid #949494;border-radius:8px;"
    "margin:0 0 .75rem}.found th{border-radius:8px 8px 0 0}.found th,.found td:not(.place)"
    "{white-space:normal}.member th{width:8rem}}"
    "@page{size:A4;margin:15mm}"
    "@media print{form,.no-print,.on-screen{display:none}.on-paper{display:inline}"
    "body{max-width:none;padding:0;font-size:10.5pt;line-height:1.5}"
    "table{break-inside:avoid}.copy{margin-top:0}a{color:inherit;text-decoration:none}}"
)


# --- the town in memory ---------------------------------------------------------------------------


def fold(text: str) -> str:
    """A name, kana or address as it is compared: width, case, blanks, kana and signs levelled."""
    text = unicodedata.normalize("NFKC", text)
    out = []
    for letter in text.casefold():
        number = ord(letter)
        if 0xFE00 <= number <= 0xFE0F or 0xE0100 <= number <= 0xE01EF or letter.isspace():
            continue  # variation selectors choose a shape, not another character
        level = chr(number + 0x60) if 0x3041 <= number <= 0x3096 else letter
        out.append("-" if level in "‐‑–—―−ー-" else level)
    return unicodedata.normalize("NFKC", "".join(out))


class Town:
    """Residents and protective measures of one package, searchable."""

    def __init__(self, package: zipfile.ZipFile, files: list[dict[str, Any]], as_of: str) -> None:
        self.as_of = as_of
        self.database = sqlite3.connect(":memory:", check_same_thread=False)
        self.database.execute("PRAGMA temp_store=MEMORY")
        self.database.execute(
            "CREATE TABLE person (number TEXT PRIMARY KEY, household TEXT, living INTEGER, "
            "name TEXT, kana TEXT, born TEXT, address TEXT, row BLOB) WITHOUT ROWID"
        )
        self.protected: set[str] = set()
        self.guarded_households: set[str] = set()
        for entry in files:
            if entry["file_id"] == RESIDENTS:
                self._read_residents(package, entry)
            elif entry["file_id"] == MEASURES:
                self._read_measures(package, entry)
        self.database.execute("CREATE INDEX by_household ON person (household)")
        self.database.execute("CREATE INDEX by_name ON person (name)")
        self.database.execute("CREATE INDEX by_kana ON person (kana)")
        self.database.commit()
        self._guard_households()

    def _rows(self, package: zipfile.ZipFile, entry: dict[str, Any]) -> Any:
        with package.open(entry["name"]) as member:
            lines = io.TextIOWrapper(member, encoding="utf-8", newline="")
            reader = csv.reader(lines, strict=True)
            yield from reader

    def _read_residents(self, package: zipfile.ZipFile, entry: dict[str, Any]) -> None:
        rows = self._rows(package, entry)
        heading = next(rows)
        place = {title: heading.index(title) for title in KEPT}
        latest, deleted = heading.index("最新フラグ"), heading.index("削除フラグ")
        started, done = time.monotonic(), 0
        insert = "INSERT OR REPLACE INTO person VALUES (?,?,?,?,?,?,?,?)"
        for row in rows:
            done += 1
            if done % 50_000 == 0:
                share = f"{100 * done // max(1, entry['rows'])}%"
                print(
                    f"  読み込み {done}件（{share}）{time.monotonic() - started:.0f}秒", flush=True
                )
            if row[latest] == "1" and row[deleted] != "1":
                self.database.execute(insert, self._entry({t: row[i] for t, i in place.items()}))

    @staticmethod
    def _entry(row: dict[str, str]) -> tuple[Any, ...]:
        names = "\n".join(fold(row[title]) for title in ("氏名", "旧氏", "通称"))
        kana = "\n".join(fold(row[t]) for t in ("氏名_フリガナ", "旧氏_フリガナ", "通称_フリガナ"))
        packed = zlib.compress(json.dumps(list(row.values()), ensure_ascii=False).encode(), 1)
        return (
            row["宛名番号"],
            row["世帯番号"],
            int(row["住民状態"] == "1"),
            names,
            kana,
            row["生年月日"],
            fold(address_of(row)),
            packed,
        )

    def _read_measures(self, package: zipfile.ZipFile, entry: dict[str, Any]) -> None:
        rows = self._rows(package, entry)
        heading = next(rows)
        day = self.as_of[:10]
        for values in rows:
            row = dict(zip(heading, values))  # noqa: B905 - Python 3.9 has no `strict`
            ends = row["支援措置終了年月日"]
            if (
                row["最新フラグ"] == "1"
                and row["削除フラグ"] != "1"
                and row["対象者区分"] in ("1", "2")
                and (not ends or ends >= day)
            ):
                self.protected.add(row["宛名番号"])

    def _guard_households(self) -> None:
        """Who lives with a protected person lives at the same address: it is held back for all."""
        for number in self.protected:
            found = self.database.execute(
                "SELECT household FROM person WHERE number = ?", [number]
            ).fetchone()
            if found:
                self.guarded_households.add(found[0])

    def is_guarded(self, row: dict[str, str]) -> bool:
        """Whether this person or a member of the household is under a protective measure."""
        return row["宛名番号"] in self.protected or row["世帯番号"] in self.guarded_households

    def search(self, name: str, born: str, address: str, number: str) -> tuple[list[dict], bool]:
        """Persons that fit everything given, at most `SHOWN`, and whether there are more."""
        wanted, values = [], []
        if name.strip():
            wanted.append("(instr(name, ?) > 0 OR instr(kana, ?) > 0)")
            values += [fold(name)] * 2
        if born.strip():
            wanted.append("born = ?")
            values.append(born.strip())
        if address.strip():
            wanted.append("instr(address, ?) > 0")
            values.append(fold(address))
        if number.strip():
            wanted.append("number = ?")
            values.append(number.strip().zfill(15))
        if not wanted:
            return [], False
        found = self.database.execute(
            f"SELECT row FROM person WHERE {' AND '.join(wanted)} "  # noqa: S608 - our own words
            f"ORDER BY living DESC, kana LIMIT {SHOWN + 1}",
            values,
        ).fetchall()
        rows = [unpack(row) for (row,) in found[:SHOWN]]
        if address.strip():  # whoever knows an address must not learn who is hidden there
            rows = [row for row in rows if not self.is_guarded(row)]
        return rows, len(found) > SHOWN

    def household(self, number: str) -> list[dict[str, str]]:
        """The residents of a household in the order of the record, those that left at the end."""
        found = self.database.execute("SELECT row FROM person WHERE household = ?", [number])
        rows = [unpack(row) for (row,) in found.fetchall()]
        return sorted(rows, key=lambda row: (row["住民状態"] != "1", int(row["記載順位"] or 99)))

    def counts(self) -> tuple[int, int]:
        """Residents and households."""
        (pair,) = self.database.execute(
            "SELECT count(*), count(DISTINCT household) FROM person WHERE living = 1"
        ).fetchall()
        return pair


def unpack(packed: bytes) -> dict[str, str]:
    """A resident's kept columns."""
    return dict(zip(KEPT, json.loads(zlib.decompress(packed))))  # noqa: B905 - Python 3.9


def address_of(row: dict[str, str], prefix: str = "住所") -> str:
    """The address in one line."""
    parts = ("都道府県", "市区郡町村名", "町字", "番地号表記", "方書")
    return "".join(row.get(f"{prefix}_{part}") or "" for part in parts)


def shown_date(row: dict[str, str], title: str) -> str:
    """A date as the record prints it: as written when unknown, else in the Japanese era."""
    written, text = row.get(f"{title}_不詳表記") or "", row.get(title) or ""
    if written or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return written or text
    day = date(int(text[:4]), int(text[5:7]), int(text[8:]))
    for era, begins in ERAS:
        if day >= begins:
            year = day.year - begins.year + 1
            return f"{era}{'元' if year == 1 else year}年{day.month}月{day.day}日"
    return text


def domicile_of(row: dict[str, str]) -> str:
    """The registered domicile; a core system fills it whole, in parts, or both ways."""
    return row["本籍"] or row["本籍_町字"] + row["本籍_地番号または、街区符号"]


def shown_moment(text: str) -> str:
    """A moment of the package (ISO 8601) as people read it."""
    parts = re.match(r"(\d{4})-(\d{2})-(\d{2})T(\d{2}:\d{2})", text)
    if parts is None:
        return text
    year, month, day, time_of_day = parts.groups()
    return f"{year}年{int(month)}月{int(day)}日 {time_of_day}"


# --- the pages ------------------------------------------------------------------------------------


def esc(value: object) -> str:
    """Text that can't become markup."""
    return html.escape(str(value), quote=True)


def page(title: str, body: str) -> bytes:
    """A whole page."""
    return (
        '<!doctype html><html lang="ja"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<title>{esc(title)} | 町の箱</title><link rel="stylesheet" href="/style.css">'
        f'<link rel="icon" href="data:,"></head><body><main>{body}</main></body></html>'
    ).encode()


def search_form(given: dict[str, str]) -> str:
    """The form of the first page."""
    fields = (
        ("name", "氏名かフリガナ（一部でもよい）", "例: 山田　やまだ"),
        ("born", "生年月日", "例: 1980-04-01"),
        ("address", "住所の一部", "例: 本町1-2"),
        ("number", "宛名番号", ""),
    )
    parts = [
        f'<p class="field"><label for="{name}">{title}</label>'
        + (f'<span class="help" id="{name}-help">{hint}</span>' if hint else "")
        + f'<input id="{name}" name="{name}" autocomplete="off" value="{esc(given.get(name, ""))}"'
        + (f' aria-describedby="{name}-help"' if hint else "")
        + "></p>"
        for name, title, hint in fields
    ]
    return f'<form method="post" action="/search">{"".join(parts)}<button>さがす</button></form>'


def shown_place(town: Town, row: dict[str, str]) -> str:
    """The address in a list; held back where a protective measure stands."""
    return "支援措置のため一覧には出しません" if town.is_guarded(row) else address_of(row)


def result_table(town: Town, rows: list[dict[str, str]]) -> str:
    """What a search found, each with the way to its household."""
    lines = "".join(
        "<tr>"
        f'<th scope="row">{esc(row["氏名"])}<br>{esc(row["氏名_フリガナ"])}</th>'
        f"<td>{esc(shown_date(row, '生年月日'))}</td>"
        f'<td class="place">{esc(shown_place(town, row))}</td>'
        f"<td>{esc(STATES.get(row['住民状態'], row['住民状態']))}"
        f"{'　支援措置' if row['宛名番号'] in town.protected else ''}</td>"
        '<td><form method="post" action="/household">'
        f'<input type="hidden" name="household" value="{esc(row["世帯番号"])}">'
        f'<button class="link" aria-label="{esc(row["氏名"])}の世帯を見る">世帯を見る</button>'
        "</form></td></tr>"
        for row in rows
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="見つかった人">'
        '<table class="found">'
        "<thead><tr>"
        '<th scope="col">氏名</th><th scope="col">生年月日</th><th scope="col">住所</th>'
        '<th scope="col">状態</th><th scope="col">世帯</th></tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


PLACES = frozenset({"住所", "前住所", "本籍"})


def member_table(row: dict[str, str], *, guarded: bool = False) -> str:
    """One member as the record of the residents' register shows it. `guarded`: where somebody
    lives, lived or is registered stands on the screen and not on the paper."""
    foreign = [
        ("国籍・地域", row["国籍名等"]),
        ("在留資格", row["在留資格名"]),
        ("在留期間", row["在留期間表記"]),
        ("在留期間の満了の日", shown_date(row, "在留期間の満了の日")),
        ("在留カード等の番号", row["在留カード等番号"]),
    ]
    before = address_of(row, "転入前住所") or row["転入前住所_国外住所"]
    facts = [
        ("氏名", row["氏名"]),
        ("フリガナ", row["氏名_フリガナ"]),
        ("旧氏", row["旧氏"]),
        ("通称", row["通称"]),
        ("生年月日", shown_date(row, "生年月日")),
        ("性別", row["性別表記"] or SEXES.get(row["性別"], "")),
        ("続柄", row["続柄表記"]),
        ("世帯主", row["世帯主氏名"]),
        ("住所", address_of(row)),
        ("住民となった日", shown_date(row, "住民となった年月日")),
        ("住所を定めた日", shown_date(row, "住所を定めた年月日")),
        ("前住所", before),
        ("本籍", domicile_of(row)),
        ("筆頭者", row["戸籍_筆頭者"]),
        *foreign,
        ("住民票コード", row["住民票コード"]),
        ("宛名番号", row["宛名番号"]),
        ("備考", row["備考"]),
    ]
    if row["住民状態"] != "1":
        state = STATES.get(row["住民状態"], row["住民状態"])
        facts.insert(0, ("消除", f"{state}　{shown_date(row, '消除の異動年月日')}"))
    lines = "".join(
        f'<tr><th scope="row">{esc(title)}</th><td>'
        f"{off_paper(value) if guarded and title in PLACES else esc(value)}</td></tr>"
        for title, value in facts
        if value
    )
    return f'<table class="member"><caption>{esc(row["氏名"])}</caption>{lines}</table>'


def off_paper(value: str) -> str:
    """A value that is shown on the screen only."""
    return (
        f'<span class="on-screen">{esc(value)}</span>'
        '<span class="on-paper">支援措置のため印刷しません</span>'
    )


def household_page(town: Town, number: str, rows: list[dict[str, str]]) -> bytes:
    """All members of a household, ready to print."""
    guarded = any(town.is_guarded(row) for row in rows)
    warning = (
        '<p class="warn" role="alert">支援措置のある世帯です。本人であることを必ず確かめ、住所を'
        "ほかの人に見せたり話したりしないでください。印刷には住所・前住所・本籍は出ません。</p>"
        if guarded
        else ""
    )
    body = (
        '<p class="no-print"><a href="/">さがす画面へ戻る</a></p>'
        '<p class="copy">証明書ではありません'
        f"（復旧用の写し・{esc(shown_moment(town.as_of))} 時点）</p>"
        f"<h1>世帯 {esc(number)}</h1>{warning}"
        f"{''.join(member_table(row, guarded=guarded) for row in rows)}"
        '<p class="no-print">印刷はブラウザの印刷（Ctrl+P）で行います。</p>'
    )
    return page("世帯", body)


class Door(BaseHTTPRequestHandler):
    """Answers the browser of this machine, and nobody without the secret of the printed link."""

    server: Box
    server_version, sys_version = "town", ""

    def log_message(self, *_: object) -> None:
        """Nothing is written anywhere."""

    def do_GET(self) -> None:
        if self.path == f"/open/{self.server.secret}":
            cookie = f"town={self.server.secret}; HttpOnly; SameSite=Strict; Path=/"
            self._answer(303, b"", {"Set-Cookie": cookie, "Location": "/"})
        elif not self._is_ours():
            self._answer(403, page("開けません", "<h1>起動した画面のリンクから開いてください</h1>"))
        elif self.path == "/style.css":
            self._answer(200, STYLE.encode(), {"Content-Type": "text/css; charset=utf-8"})
        elif self.path == "/":
            self._answer(200, self._first({}))
        else:
            self._answer(404, page("ありません", "<h1>そのページはありません</h1>"))

    def do_POST(self) -> None:
        if not self._is_ours() or self.headers.get("Origin") != self.server.url:
            self._answer(403, page("開けません", "<h1>起動した画面のリンクから開いてください</h1>"))
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LARGEST_FORM:
            self._answer(413, page("長すぎます", "<h1>入力が長すぎます</h1>"))
            return
        body = self.rfile.read(int(length)).decode("utf-8", "replace")
        given = {name: values[0][:200] for name, values in parse_qs(body).items()}
        if self.path == "/search":
            self._answer(200, self._found(given))
        elif self.path == "/household":
            number = given.get("household", "")
            rows = self.server.town.household(number)
            known = household_page(self.server.town, number, rows)
            self._answer(200 if rows else 404, known)
        else:
            self._answer(404, page("ありません", "<h1>そのページはありません</h1>"))

    def _first(self, given: dict[str, str], result: str = "") -> bytes:
        residents, households = self.server.town.counts()
        facts = (
            f"団体コード {esc(self.server.code)}　"
            f"{esc(shown_moment(self.server.town.as_of))} 時点　"
            f"住民 {residents:,}人　{households:,}世帯"
        )
        return page("さがす", f"<h1>町の箱</h1><p>{facts}</p>{search_form(given)}{result}")

    def _found(self, given: dict[str, str]) -> bytes:
        words = (given.get(name, "") for name in ("name", "born", "address", "number"))
        rows, more = self.server.town.search(*words)
        if not rows:
            return self._first(
                given, '<h2>見つかりません</h2><p role="status">条件を変えてください。</p>'
            )
        note = f"<p>はじめの{SHOWN}人です。条件を足してください。</p>" if more else ""
        heading = f'<h2 role="status">{len(rows)}人見つかりました</h2>{note}'
        return self._first(given, heading + result_table(self.server.town, rows))

    def _is_ours(self) -> bool:
        # The host is looked at so that no other site can reach us under a name of its own.
        jar = cookies.SimpleCookie(self.headers.get("Cookie", ""))
        given = jar["town"].value if "town" in jar else ""
        here = self.headers.get("Host") == self.server.url.split("//")[1]
        return here and hmac.compare_digest(given.encode(), self.server.secret.encode())

    def _answer(self, status: int, body: bytes, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src data:; "
            "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        }
        for name, value in {**headers, **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Box(HTTPServer):
    """The little server: loopback only, one request after the other."""

    def __init__(self, town: Town, code: str, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Door)
        self.town, self.code = town, code
        self.secret = secrets.token_urlsafe(24)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def link(self) -> str:
        """The link that lets this machine's browser in."""
        return f"{self.url}/open/{self.secret}"


def serve(package: zipfile.ZipFile, files: list[dict[str, Any]], facts: dict[str, Any]) -> None:
    """Read the town, print the link and serve until Ctrl-C."""
    print("町の箱を用意しています（データはこの機械のメモリの中だけに置きます）", flush=True)
    box = Box(Town(package, files, str(facts["as_of"])), str(facts["municipality_code"]))
    residents, households = box.town.counts()
    print(f"用意できました: 住民 {residents:,}人、{households:,}世帯")
    print(f"ブラウザで開いてください: {box.link}")
    print("終わるときは Ctrl-C を押してください。", flush=True)
    try:
        box.serve_forever()
    except KeyboardInterrupt:
        print("終わりました。")
    finally:
        box.server_close()
