"""Publishing the interface: a machine-readable table schema and a page to read and print.

Both come from the same layouts that the validator uses, so they can't say other things (R-010).
"""

from __future__ import annotations

import re
from html import escape

from bcl_contract import strict_json
from bcl_contract.linkage.layouts import CodeList, Column, Interface, Layout
from bcl_contract.linkage.manifest import table_schema

TYPE_TEXTS = {
    "N": "半角数字",
    "X": "半角英数記号",
    "K": "全角カナ",
    "J": "行政事務標準文字",
    "D": "日付（YYYY-MM-DD）",
    "T": "時刻（HH:MM:SS）",
    "I": "整数",
    "F": "フラグ（0/1）",
}
REQUIRED_TEXTS = {"Y": "◎", "C": "○", "N": ""}
PROFILE_TEXTS = {"a": "住民情報バックアップ", "b": "証明発行", "c": "被災者支援"}
SENSITIVITY_TEXTS = {
    "public_code": "公開コード",
    "basic": "基本情報",
    "personal": "個人情報",
    "sensitive": "要配慮",
    "individual_number": "個人番号",
    "secret_image": "印影",
}

_STYLE = """
body{font-family:"Noto Sans JP","Hiragino Sans","Yu Gothic",sans-serif;margin:2rem;
color:#1a1a1a;line-height:1.6}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.5rem;border-bottom:2px solid #0017c1}
table{border-collapse:collapse;width:100%;font-size:.85rem}
caption{text-align:left;font-weight:bold;padding:.3rem 0}
th,td{border:1px solid #949494;padding:.2rem .4rem;text-align:left;vertical-align:top}
thead th{background:#e8f1fe}td.number{text-align:right}
code{font-family:"Noto Sans Mono",monospace;font-size:.85em}
nav ul{columns:3;padding-left:1.2rem}
@media print{body{margin:0}h2{break-before:page}nav{display:none}thead{display:table-header-group}
tr{break-inside:avoid}}
"""


def describe_interface(interface: Interface) -> dict[str, object]:
    """Give the whole interface as plain data: files with table schemas, columns, code lists."""
    return {
        "interface_version": interface.version,
        "files": [_describe_layout(layout) for layout in interface.files.values()],
        "code_lists": [
            {
                "name": codes.name,
                "closed": codes.closed,
                "codes": [
                    {"code": code, "label_ja": label, "label_en": codes.labels_en[code]}
                    for code, label in codes.values.items()
                ],
            }
            for codes in interface.code_lists.values()
        ],
    }


def _describe_layout(layout: Layout) -> dict[str, object]:
    return {
        "file_id": layout.file_id,
        "name": layout.name,
        "title_ja": layout.title_ja,
        "urgent_condition": layout.urgent_condition,
        "schema": table_schema(layout),
        "columns": [_describe_column(column) for column in layout.columns],
    }


def _describe_column(column: Column) -> dict[str, object]:
    return {
        "position": column.position,
        "title_ja": column.title_ja,
        "name": column.name,
        "type": column.type,
        "length": column.length,
        "required": column.required,
        "condition": column.condition,
        "key_order": column.key_order,
        "search": column.search,
        "sensitivity": column.sensitivity,
        "code_list": column.code_list,
        "profiles": list(column.profiles),
        "urgent": column.urgent,
    }


def write_specification_json(interface: Interface) -> bytes:
    """Write `describe_interface` as JSON."""
    return strict_json.write(describe_interface(interface))


def write_specification_html(interface: Interface) -> str:
    """Write the page of all layouts and code lists: one file, no outside asset, printable."""
    files = list(interface.files.values())
    links = "".join(
        f'<li><a href="#{layout.file_id}">{layout.file_id} {escape(layout.title_ja)}</a></li>'
        for layout in files
    )
    title = f"BCL 連携インタフェース仕様 第{interface.version}版"
    parts = [
        f'<!doctype html><html lang="ja"><head><meta charset="utf-8"><title>{title}</title>',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>",
        f'<nav aria-label="目次"><ul>{links}<li><a href="#codes">コード一覧</a></li></ul></nav>',
        _RULES,
        *(_layout_section(layout) for layout in files),
        '<h2 id="codes">コード一覧</h2>',
        *(_codes_table(codes) for codes in interface.code_lists.values()),
        "</body></html>\n",
    ]
    return "".join(parts)


_RULES = """<h2 id="rules">ファイルの決まり</h2><ul>
<li>文字コードはUTF-8（BOMなし）、改行はCRLF、区切りは「,」、すべての項目を「"」で囲みます。
値の中の「"」は「""」と書きます。値の中に改行は入れられません。</li>
<li>1行目は見出しです。項目名と順序は、下の表のとおりにしてください。</li>
<li>値がない項目は空にします。日付の0000-00-00や9999-99-99は使えません。</li>
<li>桁数は字の数です。異体字の指定（IVS）は数えません。</li>
<li>ファイル名は「団体コード_種類_F（全件）またはD（差分）_通番8桁_日時14桁.csv」です。</li>
<li>必須の◎は常に必要、○は条件に当たるとき必要です。</li>
<li>緊急の送信には「緊急」の条件に当たる行だけを入れられます。</li></ul>"""


_CONDITION = re.compile(
    r"(?P<warn>^warn\()|(?P<presence>empty|filled)\((?P<field>\w+)\)"
    r"|(?P<name>\w+)(?P<operator>!=|=| in )(?P<values>[\w|]+)|(?P<join> and | or )"
)


def explain_condition(text: str, layout: Layout) -> str:
    """Say a condition in Japanese, with the titles of the columns, for the printed page."""

    def say(found: re.Match[str]) -> str:
        if found["warn"]:
            return ""
        if found["join"]:
            return "、かつ" if found["join"] == " and " else "、または"
        if found["presence"]:
            title = layout.column(found["field"]).title_ja
            return f"「{title}」が{'空' if found['presence'] == 'empty' else '入っている'}"
        title, values = layout.column(found["name"]).title_ja, found["values"]
        if found["operator"] == "!=":
            return f"「{title}」が{values}以外"
        return f"「{title}」が{values.replace('|', 'か')}"

    said = _CONDITION.sub(say, text)
    return f"{said.removesuffix(')')}（ないときは注意）" if text.startswith("warn(") else said


def _layout_section(layout: Layout) -> str:
    rows = "".join(_column_row(column, layout) for column in layout.columns)
    urgent = (
        f"<p>緊急の送信の条件: {escape(explain_condition(layout.urgent_condition, layout))}</p>"
        if layout.urgent
        else ""
    )
    head = "".join(
        f'<th scope="col">{text}</th>'
        for text in (
            "番号", "項目名", "英名", "型", "桁", "必須", "条件", "キー", "コード", "区分", "利用",
        )
    )  # fmt: skip
    return (
        f'<h2 id="{layout.file_id}">{layout.file_id} {escape(layout.title_ja)}</h2>{urgent}'
        f"<table><caption>{layout.file_id} {escape(layout.title_ja)}（{len(layout.columns)}項目）"
        f"</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _column_row(column: Column, layout: Layout) -> str:
    codes = (
        f'<a href="#codes-{column.code_list}">{column.code_list}</a>' if column.code_list else ""
    )
    return (
        f'<tr><td class="number">{column.position}</td>'
        f'<th scope="row">{escape(column.title_ja)}</th><td><code>{column.name}</code></td>'
        f"<td>{TYPE_TEXTS[column.type]}</td>"
        f'<td class="number">{column.length}</td><td>{REQUIRED_TEXTS[column.required]}</td>'
        f"<td>{escape(explain_condition(column.condition, layout))}</td>"
        f"<td>{column.key_order or ''}</td>"
        f"<td>{codes}</td><td>{SENSITIVITY_TEXTS[column.sensitivity]}</td>"
        f"<td>{'・'.join(PROFILE_TEXTS[profile] for profile in column.profiles)}</td></tr>"
    )


def _codes_table(codes: CodeList) -> str:
    kind = "この値だけを使えます" if codes.closed else "団体の対応表で増やせます"
    rows = (
        "".join(
            f'<tr><th scope="row"><code>{escape(code)}</code></th><td>{escape(label)}</td></tr>'
            for code, label in codes.values.items()
        )
        or '<tr><td colspan="2">団体の対応表で定めます</td></tr>'
    )
    return (
        f'<table id="codes-{codes.name}"><caption>{codes.name}（{kind}）</caption>'
        f'<thead><tr><th scope="col">コード</th><th scope="col">意味</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )
