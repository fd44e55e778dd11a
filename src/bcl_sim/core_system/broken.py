"""Deliberately broken exports: one defect each, for trying the gateway and the linkage.

A defect takes a healthy file and spoils it in exactly one way. READY describes the spoiled file
truthfully, except for the defects of READY itself.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bcl_sim.core_system.export import WrittenFile
from bcl_sim.core_system.tables import layouts


class Table:
    """A small linkage file in memory: header and rows as lists of texts."""

    def __init__(self, file_id: str, content: bytes) -> None:
        lines = list(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))
        self.names = layouts()[file_id].names
        self.header, self.rows = lines[0], lines[1:]
        if not self.rows:
            raise ValueError(f"{file_id} に行がないため、この壊し方は使えません。")

    def column(self, name: str) -> int:
        """Position of a column."""
        return self.names.index(name)

    def get(self, row: int, name: str) -> str:
        """A value."""
        return self.rows[row][self.column(name)]

    def set(self, row: int, name: str, value: str) -> None:
        """Change a value."""
        self.rows[row][self.column(name)] = value

    def find(self, **wanted: str) -> int:
        """The first row with these values. ValueError when there is none."""
        for number in range(len(self.rows)):
            if all(self.get(number, name) == value for name, value in wanted.items()):
                return number
        raise ValueError("この書き出しには、壊すための行がありません。")

    def current(self) -> int:
        """A current resident's row with a household of two or more."""
        return self.find(latest="1", resident_state="1", entry_order="2")

    def render(self) -> bytes:
        """Canonical bytes."""
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
        writer.writerow(self.header)
        writer.writerows(self.rows)
        return buffer.getvalue().encode("utf-8")


@dataclass(frozen=True)
class Defect:
    """One way to be wrong: the file it spoils and how."""

    file_id: str
    text_ja: str
    spoil: Callable[[bytes], bytes]


DEFECTS: dict[str, Defect] = {}


def _raw(name: str, text_ja: str, file_id: str = "J01") -> Callable[..., Callable[[bytes], bytes]]:
    """Register a defect that works on bytes."""

    def register(spoil: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
        DEFECTS[name] = Defect(file_id, text_ja, spoil)
        return spoil

    return register


def _table(name: str, text_ja: str, spoil: Callable[[Table], object], file_id: str = "J01") -> None:
    """Register a defect that works on a parsed table."""

    def on_bytes(content: bytes) -> bytes:
        table = Table(file_id, content)
        spoil(table)
        return table.render()

    DEFECTS[name] = Defect(file_id, text_ja, on_bytes)


def _value(name: str, text_ja: str, column: str, value: str, file_id: str = "J01") -> None:
    """Register a defect that is one wrong value in one row."""

    def spoil(table: Table) -> None:
        table.set(table.current() if file_id == "J01" else 0, column, value)

    _table(name, text_ja, spoil, file_id)


# --- encoding and structure


@_raw("encoding_cp932", "文字コードがShift_JIS（CP932）")
def _cp932(content: bytes) -> bytes:
    return content.decode("utf-8").encode("cp932", errors="replace")


@_raw("encoding_utf16", "文字コードがUTF-16")
def _utf16(content: bytes) -> bytes:
    return content.decode("utf-8").encode("utf-16")


@_raw("encoding_bom", "先頭にBOM（受け付けて警告）")
def _bom(content: bytes) -> bytes:
    return b"\xef\xbb\xbf" + content


@_raw("line_feed_only", "改行がLFだけ（受け付ける）")
def _lf(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n")


@_raw("unquoted", "囲みなし（受け付ける）")
def _unquoted(content: bytes) -> bytes:
    rows = csv.reader(io.StringIO(content.decode("utf-8"), newline=""))
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_MINIMAL, lineterminator="\r\n").writerows(rows)
    return buffer.getvalue().encode("utf-8")


@_raw("lone_surrogate", "単独サロゲートのバイト列")
def _surrogate(content: bytes) -> bytes:
    return _into_name(content, b"\xed\xa0\x80")


@_raw("invalid_utf8", "UTF-8として不正なバイト")
def _invalid(content: bytes) -> bytes:
    return _into_name(content, b"\xff\xfe")


@_raw("nul_character", "NUL文字")
def _nul(content: bytes) -> bytes:
    return _into_name(content, b"\x00")


def _into_name(content: bytes, inserted: bytes) -> bytes:
    """Put bytes into the first full name of J01 (after its full-width space)."""
    space = "　".encode()
    at = content.index(space, content.index(b"\r\n"))
    return content[:at] + inserted + content[at:]


@_raw("header_missing", "見出し行がない")
def _no_header(content: bytes) -> bytes:
    return content[content.index(b"\r\n") + 2 :]


@_raw("quote_unclosed", "囲みが閉じていない")
def _unclosed(content: bytes) -> bytes:
    at = content.rindex(b'"')
    return content[:at] + content[at + 1 :]


@_raw("truncated", "途中で切れたファイル")
def _truncated(content: bytes) -> bytes:
    return content[: len(content) - 120]


@_raw("empty_file", "0バイトのファイル")
def _empty(content: bytes) -> bytes:
    return b""


@_raw("old_mac_newlines", "改行がCRだけ")
def _cr(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\r")


def _swap_header(table: Table) -> None:
    table.header[4], table.header[5] = table.header[5], table.header[4]


def _shift(table: Table) -> None:
    row = table.rows[len(table.rows) // 2]
    row.insert(10, row.pop(0))


_table("header_order", "見出しの順が違う", _swap_header)
_table("header_wrong_title", "見出しの名称が違う", lambda t: t.header.__setitem__(16, "お名前"))
_table("column_missing", "行の項目が一つ足りない", lambda t: t.rows[0].pop())
_table("column_extra", "行の項目が一つ多い", lambda t: t.rows[0].append(""))
_table("column_shift", "行の項目が横にずれている", _shift)
_table("newline_in_value", "値の中に改行",
       lambda t: t.set(0, "resident_record_remarks", "一行目\r\n二行目"))  # fmt: skip

# --- values

_value("check_digit_wrong", "市区町村コードの検査数字が違う", "address_municipality_code", "999998")
_value("foreign_town_row", "他団体の行が混ざっている", "municipality_code", "131041")
_value("required_missing", "必須項目が空", "full_name", "")
_value("conditional_missing", "条件つき必須項目が空", "entry_order", "")
_value("too_long", "桁数を超えている", "surname", "長" * 51)
_value("closed_code_unknown", "値の決まった項目に知らないコード", "resident_kind", "7")
_value("open_code_unknown", "団体独自コードの項目に知らないコード（保留）", "change_reason", "88")
_value("flag_wrong", "フラグが0・1でない", "change_pending", "2")
_value("date_zero", "年月日が0000-00-00", "born_on", "0000-00-00")
_value("date_nines", "年月日が9999-99-99", "changed_on", "9999-99-99")
_value("date_impossible", "ない年月日（2月30日）", "born_on", "1970-02-30")
_value("date_slashes", "年月日が斜線区切り", "born_on", "1970/02/03")
_value("born_in_future", "生年月日が基準日より後", "born_on", "2999-01-01")
_value("time_wrong", "時刻が25時", "operated_time", "25:00:00")
_value("wide_digits", "数字が全角", "addressee_number", "０００００００００１２３４５６")
_value("control_character", "制御文字", "address_building", "ハイツ\x07")
_value("bidi_control", "文字の向きを変える制御文字", "full_name", "甲野\u202e太郎")
_value("line_separator", "行区切り文字（U+2028）", "address_building", "ハイツ\u2028")
_value("private_use_bmp", "外字領域の文字", "full_name", "\ue000野　太郎")
_value("private_use_plane16", "一覧にない第16面の文字", "full_name", "\U0010fffd野　太郎")
_value("unassigned_character", "未割当の文字", "full_name", "\u0378野　太郎")
_value("kana_in_hiragana", "フリガナがひらがな", "full_name_kana", "こうの　たろう")
_value("order_negative", "記載順位が負", "entry_order", "-1")
_value("serial_leading_zero", "発行番号の先頭が0", "serial_number", "0A12", "J05")
_value("serial_lower_case", "発行番号が小文字", "serial_number", "ab12cd", "J05")
_value("block_without_person", "個人の発行抑止に宛名番号がない", "addressee_number", "", "J06")
_value("amount_with_commas", "金額に桁区切り", "amount", "1,000", "T05")
_value("amount_decimal", "金額が小数", "amount", "100.5", "T05")
_value("seal_ended_without_reason", "廃止の印鑑登録に年月日がない", "seal_status", "2", "S01")
_value("image_not_png", "印影の形式がpngでない", "image_format", "bmp", "S02")
_value("image_hash_wrong", "印影のハッシュが違う", "image_sha256", "0" * 64, "S02")

# --- keys and households


def _duplicate(table: Table) -> None:
    table.rows.append(list(table.rows[0]))


def _two_latest(table: Table) -> None:
    row = list(table.rows[table.current()])
    row[table.column("history_number")] = "99"
    table.rows.append(row)


def _drop_member(table: Table) -> None:
    table.rows.pop(table.current())


def _two_heads(table: Table) -> None:
    row = table.current()
    table.set(row, "relationship_code_1", "02")
    table.set(row, "relationship_as_written", "世帯主")


def _no_head(table: Table) -> None:
    second = table.current()
    home = table.get(second, "household_number")
    head = table.find(latest="1", resident_state="1", household_number=home, entry_order="1")
    table.set(head, "relationship_code_1", "99")


def _half_applied(table: Table) -> None:
    """Keep the row of a head who died and drop the rows of those who stay behind."""
    for row in range(len(table.rows)):
        gone = table.get(row, "resident_state") == "3" and table.get(row, "latest") == "1"
        home, person = table.get(row, "household_number"), table.get(row, "addressee_number")
        left = [
            other
            for other in range(len(table.rows))
            if table.get(other, "household_number") == home
            and table.get(other, "addressee_number") != person
        ]
        if gone and left and table.get(row, "relationship_code_1") == "02":
            table.rows = [r for number, r in enumerate(table.rows) if number not in left]
            return
    raise ValueError("この書き出しには、壊すための行がありません。")


def _foreign_with_domicile(table: Table) -> None:
    row = table.find(latest="1", resident_kind="2", resident_state="1")
    table.set(row, "registered_domicile", "東京都新宿区西新宿二丁目８番地")


def _two_holders(table: Table) -> None:
    first = table.find(link_status="1")
    for number in range(first + 1, len(table.rows)):
        other = table.get(number, "addressee_number") != table.get(first, "addressee_number")
        if other and table.get(number, "link_status") == "1":
            table.set(number, "serial_number", table.get(first, "serial_number"))
            table.set(number, "issuer_key", table.get(first, "issuer_key"))
            return
    raise ValueError("この書き出しには、壊すための行がありません。")


def _shrink(table: Table) -> None:
    homes = sorted({row[table.column("household_number")] for row in table.rows})
    gone = set(homes[::4])
    table.rows = [row for row in table.rows if row[table.column("household_number")] not in gone]


_table("duplicate_key", "同じキーの行が二つ", _duplicate)
_table("two_latest_rows", "最新の行が一人に二つ", _two_latest)
_table("household_not_closed", "世帯の一部が欠けている", _drop_member)
_table("household_half_applied", "世帯主の死亡だけで、残る世帯員の行がない", _half_applied)
_table("two_heads", "世帯主が二人", _two_heads)
_table("no_head", "世帯主がいない", _no_head)
_table("order_gap", "記載順位が飛んでいる", lambda t: t.set(t.current(), "entry_order", "9"))
_table("head_name_differs", "世帯主氏名が世帯主の氏名と違う",
       lambda t: t.set(t.current(), "head_of_household_name", "別野　名太"))  # fmt: skip
_table("address_differs", "世帯の中で住所が違う（警告）",
       lambda t: t.set(t.current(), "address_lot_as_written", "９９９番９号"))  # fmt: skip
_table("removed_flag_differs", "住民状態と除票フラグが合わない",
       lambda t: t.set(t.current(), "removed_record", "1"))  # fmt: skip
_table("foreign_with_domicile", "外国人住民に本籍がある", _foreign_with_domicile)
_table("mass_shrink", "全件で住民が四分の一減っている", _shrink)
_table("serial_of_two_persons", "同じ発行番号が有効な二人に", _two_holders, "J05")
_table("link_without_person", "紐付の相手が住民にいない",
       lambda t: t.set(0, "addressee_number", "999999999999999"), "J05")  # fmt: skip

# --- READY itself

READY_DEFECTS: dict[str, tuple[str, Callable[[WrittenFile], WrittenFile]]] = {
    "ready_wrong_hash": ("READYのハッシュが違う", lambda f: replace(f, sha256="0" * 64)),
    "ready_wrong_rows": ("READYの件数が違う", lambda f: replace(f, rows=f.rows + 1)),
    "ready_wrong_bytes": ("READYの大きさが違う", lambda f: replace(f, bytes=f.bytes + 1)),
    "ready_unlisted_file": ("READYにあるファイルが無い",
                            lambda f: replace(f, name="0" + f.name)),
}  # fmt: skip


def all_defects() -> dict[str, str]:
    """Every defect and what it is, for the command's list."""
    listed = {name: defect.text_ja for name, defect in DEFECTS.items()}
    return listed | {name: text for name, (text, _) in READY_DEFECTS.items()}


def spoil(folder: Path, files: list[WrittenFile], name: str) -> list[WrittenFile]:
    """Spoil one file of an export that is being written; gives the new lines of READY.

    Raises ValueError for an unknown defect, or when the export holds no row to spoil.
    """
    ready_defect = READY_DEFECTS.get(name)
    defect = DEFECTS.get(name)
    if defect is None and ready_defect is None:
        raise ValueError(f"壊し方 {name} はありません。")
    file_id = defect.file_id if defect else "J01"
    changed = []
    for file in files:
        if file.file_id != file_id:
            changed.append(file)
        elif ready_defect:
            changed.append(ready_defect[1](file))
        elif defect:
            changed.append(_spoiled(folder, file, defect))
    if changed == files and name not in {"line_feed_only"}:
        raise ValueError(f"{file_id} がこの書き出しにありません。")
    return changed


def _spoiled(folder: Path, file: WrittenFile, defect: Defect) -> WrittenFile:
    path = folder / file.name
    content = defect.spoil(path.read_bytes())
    path.write_bytes(content)
    lines = content.count(b"\n") - 1
    return replace(
        file,
        rows=max(0, lines if lines != file.rows else file.rows),
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
