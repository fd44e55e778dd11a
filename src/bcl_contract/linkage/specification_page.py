"""The specification as one page to read and print: no outside asset, opens without a network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from bcl_contract.linkage import specification as words
from bcl_contract.linkage.catalog import InterfaceVersion
from bcl_contract.linkage.changes import Change
from bcl_contract.linkage.layouts import CodeList, Column, Interface, Layout

# Colours and sizes are those of the staff pages (look.css, the Digital Agency's design tokens).
STYLE = """
:root{--ink:#1a1a1a;--soft:#4d4d4d;--line:#949494;--thin:#ccc;--zone:#f2f2f2;--key:#0017c1;
--key-pale:#e8f1fe;--warn:#c74700}
*{box-sizing:border-box}
body{margin:0;color:var(--ink);background:#fff;line-height:1.7;overflow-wrap:anywhere;
font-family:"Noto Sans JP","Noto Sans CJK JP","Hiragino Sans","BIZ UDPGothic",sans-serif}
main{max-width:80rem;margin:0 auto;padding:1.5rem 1.25rem 4rem}
header.cover{border-bottom:4px solid var(--key);margin-bottom:2rem}
h1{font-size:2rem;line-height:1.4;margin:0 0 1rem}
h2{font-size:1.5rem;line-height:1.5;margin:3rem 0 1rem;padding-bottom:.25rem;
border-bottom:2px solid var(--key)}
h3{font-size:1.125rem;line-height:1.5;margin:2rem 0 .5rem}
p,li{max-width:56em}p{margin:0 0 1rem}
a{color:var(--key);text-underline-offset:.2em}
:focus-visible{outline:4px solid #000;outline-offset:2px;box-shadow:0 0 0 2px #ffd43d}
code{font-family:"Noto Sans Mono CJK JP",ui-monospace,monospace;font-size:.9em}
table{border-collapse:collapse;width:100%;font-size:.875rem;line-height:1.5;margin:0 0 1.5rem}
caption{text-align:left;font-weight:700;padding:0 0 .5rem}
th,td{text-align:left;padding:.375rem .5rem;border-bottom:1px solid var(--thin);vertical-align:top}
thead th{background:var(--zone);border-bottom:1px solid var(--line);white-space:nowrap}
tbody th{font-weight:700}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.center{text-align:center}.short{white-space:nowrap}
.facts{width:auto;min-width:26rem}.facts th{width:8rem;white-space:nowrap}
nav ul{columns:3 16rem;column-gap:2rem;padding-left:0;list-style:none;margin:0}
nav li{break-inside:avoid;padding:.125rem 0}
.codes{columns:3 20rem;column-gap:2rem}
.codes table{break-inside:avoid}
.codes caption{line-height:1.4}
.small{font-size:.875rem;color:var(--soft);font-weight:400}
.act{color:var(--warn);font-weight:700;white-space:nowrap}
.columns td:nth-child(7){min-width:12rem}
.codes th:first-child{width:5rem}
.hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);
white-space:nowrap}
@page{size:A4 landscape;margin:12mm 12mm 14mm;
@bottom-right{content:counter(page) " / " counter(pages);font-size:8pt}
@bottom-left{content:"TITLE";font-size:8pt}}
@media print{
body{font-size:9pt;line-height:1.5}main{max-width:none;padding:0}
h1{font-size:18pt}h2{font-size:13pt;margin:0 0 8pt;break-before:page;break-after:avoid}
h2.flow{break-before:auto;margin-top:14pt}h3{font-size:10.5pt;break-after:avoid}
table,.small{font-size:7.5pt;line-height:1.4}th,td{padding:1.5pt 3pt}
thead{display:table-header-group}tr{break-inside:avoid}caption{break-after:avoid}
a{color:inherit;text-decoration:none}.codes{columns:4;column-gap:14pt}nav ul{columns:4}
thead th,.act{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
"""
_COLUMN_HEAD = (
    "番号", "項目名", "英名", "型", "桁", "必須", "条件", "キー", "コード", "区分", "利用",
)  # fmt: skip


def write_page(
    interface: Interface,
    version: InterfaceVersion,
    *,
    changes: Sequence[Change] = (),
    predecessor: str = "",
) -> str:
    """Write the whole specification; `changes` are those since the version `predecessor`."""
    title = f"BCL データ連携インタフェース仕様書 第{version.version}版"
    files = list(interface.files.values())
    return page(
        title,
        [
            _cover(title, version),
            _contents(files, bool(changes)),
            _rules(),
            _changes(changes, predecessor, version.version) if changes else "",
            _overview(files),
            *(_layout_section(layout) for layout in files),
            _codes(interface),
            _checks(),
        ],
    )


def page(title: str, parts: Iterable[str]) -> str:
    """Give a whole page in the look of the specification."""
    style = STYLE.replace("TITLE", title)
    return (
        f'<!doctype html><html lang="ja"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{style}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str, kind: str = ""
) -> str:
    """A table; cells come as HTML, the first of a row is its heading."""
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    titles = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    mark = f' class="{kind}"' if kind else ""
    return (
        f"<table{mark}><caption>{caption}</caption><thead><tr>{titles}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _cover(title: str, version: InterfaceVersion) -> str:
    rows = "".join(
        f'<tr><th scope="row">{label}</th><td>{escape(text)}</td></tr>'
        for label, text in words.date_rows(version)
    )
    return (
        f'<header class="cover"><h1>{escape(title)}</h1>'
        f"<p>{escape(version.summary_ja)}</p></header>"
        f'<table class="facts"><caption>この版の日付</caption><tbody>{rows}</tbody></table>'
        "<p>受入期限までは、前の版と新しい版のどちらでも送れます。期限を過ぎると新しい版だけを"
        "受け付けます。期限は、BCLに届いた時刻で判定します。</p>"
    )


def _contents(files: Sequence[Layout], has_changes: bool) -> str:
    links = [("rules", "ファイルの決まり")]
    links += [("changes", "前の版からの変更点")] if has_changes else []
    links += [("files", "ファイルの一覧")]
    links += [(layout.file_id, f"{layout.file_id} {layout.title_ja}") for layout in files]
    links += [("codes", "コード一覧"), ("checks", "検査の一覧")]
    items = "".join(f'<li><a href="#{place}">{escape(text)}</a></li>' for place, text in links)
    return f'<h2 class="flow">目次</h2><nav aria-label="目次"><ul>{items}</ul></nav>'


def _rules() -> str:
    rules = "".join(f"<li>{escape(rule)}</li>" for rule in words.FILE_RULES)
    types = table(
        ("記号", "型"),
        ((f"<code>{name}</code>", escape(text)) for name, text in words.TYPE_TEXTS.items()),
        caption="項目の型",
        kind="facts",
    )
    profiles = "、".join(
        f"{short}＝{words.PROFILE_TEXTS[profile]}" for profile, short in words.PROFILE_SHORT.items()
    )
    used = f"<p>「利用」の欄は、その項目を使う業務です（{profiles}）。</p>"
    return f'<h2 id="rules">ファイルの決まり</h2><ul>{rules}</ul>{used}{types}'


def _changes(changes: Sequence[Change], old: str, new: str) -> str:
    rows = (
        (
            f"<code>{escape(change.place)}</code>",
            escape(change.title_ja),
            escape(change.what_ja),
            escape(change.before),
            escape(change.after),
            '<span class="act">対応が必要</span>' if change.must_act else "",
        )
        for change in changes
    )
    caption = f"第{old}版から第{new}版への変更点（{len(changes)}件）"
    head = ("場所", "名前", "変更", "前", "後", "対応")
    made = table(head, rows, caption=caption)
    return f'<h2 id="changes">前の版からの変更点</h2>{made}'


def _overview(files: Sequence[Layout]) -> str:
    rows = (
        (
            f'<a href="#{layout.file_id}">{layout.file_id}</a>',
            escape(layout.title_ja),
            f'<code class="short">{layout.name}</code>',
            str(len(layout.columns)),
            escape("・".join(column.title_ja for column in layout.key_columns)),
            "可" if layout.urgent else "",
        )
        for layout in files
    )
    head = ("種類", "ファイル", "英名", "項目数", "キー（行を一つに定める項目）", "緊急の送信")
    return '<h2 id="files">ファイルの一覧</h2>' + table(
        head, rows, caption='<span class="hidden">ファイルの一覧</span>'
    )


def _layout_section(layout: Layout) -> str:
    urgent = (
        "<p>緊急の送信の条件: "
        f"{escape(words.explain_condition(layout.urgent_condition, layout))}</p>"
        if layout.urgent
        else ""
    )
    rows = "".join(_column_row(column, layout) for column in layout.columns)
    head = "".join(f'<th scope="col">{text}</th>' for text in _COLUMN_HEAD)
    title = f"{layout.file_id} {escape(layout.title_ja)}"
    return (
        f'<h2 id="{layout.file_id}">{title} <span class="small"><code>{layout.name}</code>　'
        f'{len(layout.columns)}項目</span></h2>{urgent}<table class="columns">'
        f'<caption><span class="hidden">{title}の項目</span></caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _column_row(column: Column, layout: Layout) -> str:
    codes = (
        f'<a href="#codes-{column.code_list}">{_name(column.code_list)}</a>'
        if column.code_list
        else ""
    )
    condition = escape(words.explain_condition(column.condition, layout))
    profiles = "・".join(words.PROFILE_SHORT[profile] for profile in column.profiles)
    return (
        f'<tr id="{layout.file_id}.{column.name}"><td class="number">{column.position}</td>'
        f'<th scope="row">{escape(column.title_ja)}</th><td>{_name(column.name)}</td>'
        f'<td class="short">{words.TYPE_TEXTS[column.type]}</td>'
        f'<td class="number">{column.length}</td>'
        f'<td class="center">{words.REQUIRED_TEXTS[column.required]}</td>'
        f'<td>{condition}</td><td class="center">{column.key_order or ""}</td>'
        f'<td>{codes}</td><td class="short">{words.SENSITIVITY_TEXTS[column.sensitivity]}</td>'
        f'<td class="short">{profiles}</td></tr>'
    )


def _name(name: str) -> str:
    """An English name that may be broken behind an underscore and nowhere else."""
    return f"<code>{name.replace('_', '_<wbr>')}</code>"


def _codes(interface: Interface) -> str:
    users: dict[str, list[str]] = {}
    for layout in interface.files.values():
        for column in layout.columns:
            if column.code_list:
                users.setdefault(column.code_list, []).append(f"{layout.file_id} {column.title_ja}")
    tables = "".join(
        _codes_table(codes, users.get(name, [])) for name, codes in interface.code_lists.items()
    )
    return f'<h2 id="codes">コード一覧</h2><div class="codes">{tables}</div>'


def _codes_table(codes: CodeList, users: list[str]) -> str:
    kind = "この値だけを使えます" if codes.closed else "団体の対応表で増やせます"
    used = f"{users[0]}{f' ほか{len(users) - 1}項目' if len(users) > 1 else ''}" if users else ""
    rows = (
        "".join(
            f'<tr><th scope="row"><code>{escape(code)}</code></th><td>{escape(label)}</td></tr>'
            for code, label in codes.values.items()
        )
        or '<tr><td colspan="2">団体の対応表で定めます</td></tr>'
    )
    return (
        f'<table id="codes-{codes.name}"><caption><code>{codes.name}</code> '
        f'<span class="small">{escape(used)}（{kind}）</span></caption>'
        '<thead><tr><th scope="col">コード</th><th scope="col">意味</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _checks() -> str:
    parts = ['<h2 id="checks">検査の一覧</h2><p>送る前の検査と、BCLでの検査は同じものです。</p>']
    for severity, label in words.SEVERITY_TEXTS.items():
        rows = [
            (escape(text.text_ja), escape(text.how_ja), f"<code>{text.code}</code>")
            for text in words.list_checks()
            if text.severity == severity
        ]
        parts.append(table(("指摘", "直し方", "コード"), rows, caption=escape(label)))
    return "".join(parts)
