"""Publishing the interface: the words of the specification, and its machine-readable form.

Everything comes from the same layouts that the validator uses, so they can't say other things
(R-010). Pages for people: `specification_page`, `specification_sheet`, `specification_database`.
"""

from __future__ import annotations

import re
from datetime import datetime

from bcl_contract import strict_json
from bcl_contract.clock import JST
from bcl_contract.linkage.catalog import InterfaceVersion
from bcl_contract.linkage.layouts import Column, Interface, Layout
from bcl_contract.linkage.manifest import table_schema
from bcl_contract.refusals import REFUSALS, RefusalText

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
PROFILE_SHORT = {"a": "保管", "b": "証明", "c": "被災"}
SENSITIVITY_TEXTS = {
    "public_code": "公開コード",
    "basic": "基本情報",
    "personal": "個人情報",
    "sensitive": "要配慮",
    "individual_number": "個人番号",
    "secret_image": "印影",
}

SEVERITY_TEXTS = {
    "fatal": "重大（送信全体を受け付けません）",
    "row": "行の誤り",
    "household": "世帯の不整合",
    "warning": "注意（受け付けます）",
}
FILE_RULES = (
    '文字コードはUTF-8（BOMなし）、改行はCRLF、区切りは「,」、すべての項目を「"」で囲みます。'
    '値の中の「"」は「""」と書きます。値の中に改行は入れられません。',
    "1行目は見出しです。項目名と順序は、この仕様の表のとおりにしてください。",
    "値がない項目は空にします。日付の0000-00-00や9999-99-99は使えません。",
    "桁数は字の数です。異体字の指定（IVS）は数えません。",
    "住民情報システムが書き出すファイル名は「団体コード_種類_F（全件）またはD（差分）.csv」です。"
    "連携装置が通番8桁と日時14桁を付けて送ります。",
    "フォルダーには、最後に「READY」（JSON）を書きます。団体コード・全件か差分か・時点・版と、"
    "各ファイルの行数・大きさ・SHA-256を入れます。",
    "必須の◎は常に必要、○は条件に当たるとき必要です。",
    "緊急の送信には「緊急の送信の条件」に当たる行だけを入れられます。",
    "版を切り替える最初の回は、送っているすべてのファイルを全件で送ってください。",
)
_NOT_ABOUT_DATA = (
    "LINKAGE_GATEWAY_SILENT", "LINKAGE_CORE_SILENT", "LINKAGE_RESEND_REQUESTED",
    "LINKAGE_INTERFACE_DEADLINE",
)  # fmt: skip


def list_checks() -> list[RefusalText]:
    """Give what can be found wrong with a transmission, the gravest first."""
    found = [
        text
        for text in REFUSALS.values()
        if text.severity in SEVERITY_TEXTS
        and text.code.startswith(("LINKAGE_", "TRANSMISSION_"))
        and text.code not in _NOT_ABOUT_DATA
    ]
    order = list(SEVERITY_TEXTS)
    return sorted(found, key=lambda text: order.index(text.severity))


def date_rows(version: InterfaceVersion) -> list[tuple[str, str]]:
    """Give the dates of a version as (label, Japanese time)."""
    until = version.accepted_until
    deadline = f"{moment_ja(until)} まで" if until else "定めなし（次の版を公開するとき定めます）"
    return [
        ("公開日", moment_ja(version.published_at)),
        ("受入開始", moment_ja(version.accepted_from)),
        ("受入期限", deadline),
    ]


def moment_ja(at: datetime) -> str:
    """A moment in Japan, e.g. 2027年4月1日 0時00分."""
    local = at.astimezone(JST)
    return f"{local.year}年{local.month}月{local.day}日 {local.hour}時{local.minute:02}分"


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
