"""A draft of the next interface version, derived from the shipped one for tests only.

Every kind of change is in it once; no such version exists.
"""

from __future__ import annotations

import csv
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import bcl_contract.linkage
from bcl_contract.linkage.catalog import Catalog

SHIPPED = Path(bcl_contract.linkage.__file__).parent / "data"
OLD, NEW = "1.0", "2.0"
CONVERSION = """from_version,kind,file_id,name,old,new
1.0,default,J01,entry_channel,,1
1.0,renamed,J08,contact_telephone_number,telephone_number,
1.0,code,,alias_kind,2,3
"""


def write_draft(root: Path, *, deadline: datetime, window_days: int = 180) -> Catalog:
    """Write a catalog with the shipped version ending at `deadline` and a draft 2.0 beside it.

    2.0 is accepted `window_days` before the deadline and was published as long before that.
    """
    begins = deadline - timedelta(days=window_days)
    published = begins - timedelta(days=window_days)
    shutil.copytree(SHIPPED / "v1", root / "v1")
    shutil.copytree(SHIPPED / "v1", root / "v2")
    (root / "versions.csv").write_text(
        "version,directory,published_at,accepted_from,accepted_until,summary_ja\n"
        f"1.0,v1,2020-01-01T00:00:00+09:00,2020-01-01T00:00:00+09:00,{deadline.isoformat()},初版\n"
        f"2.0,v2,{published.isoformat()},{begins.isoformat()},,試験のための案\n",
        encoding="utf-8",
    )
    _change_columns(root / "v2" / "columns.csv")
    _append(root / "v2" / "files.csv", "J90,連絡先,contact_point,")
    _append(root / "v2" / "code_lists.csv", "entry_channel,1")
    codes = (root / "v2" / "codes.csv").read_text("utf-8")
    codes = codes.replace("alias_kind,2,", "alias_kind,3,")
    codes += "entry_channel,1,窓口,counter\nentry_channel,2,電子申請,electronic\n"
    (root / "v2" / "codes.csv").write_text(codes, encoding="utf-8")
    (root / "v2" / "conversion.csv").write_text(CONVERSION, encoding="utf-8")
    return Catalog(root)


def _append(path: Path, line: str) -> None:
    path.write_text(path.read_text("utf-8") + line + "\n", encoding="utf-8")


def _change_columns(path: Path) -> None:
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    changed: list[dict[str, str]] = []
    for row in rows:
        place = (row["file_id"], row["name"])
        if place == ("J01", "district_code_10"):
            continue
        if place == ("J01", "address_building"):
            row["length"] = "400"
        if place == ("J08", "address_lot_as_written"):
            row["length"] = "40"
        if place == ("J08", "telephone_number"):
            row |= {"name": "contact_telephone_number", "title_ja": "連絡先電話番号"}
        if place == ("J01", "change_pending"):
            changed.append(_column("J01", "届出経路", "entry_channel", "N", 1, "entry_channel"))
        changed.append(row)
    changed += [
        _column("J90", "市区町村コード", "municipality_code", "N", 6, key_order="1"),
        _column("J90", "宛名番号", "addressee_number", "N", 15, key_order="2"),
        _column("J90", "電話番号", "telephone_number", "X", 20),
    ]
    counted: dict[str, int] = {}
    for row in changed:
        counted[row["file_id"]] = counted.get(row["file_id"], 0) + 1
        row["position"] = str(counted[row["file_id"]])
    with path.open("w", encoding="utf-8", newline="") as target:
        writer = csv.DictWriter(target, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(changed)


def _column(
    file_id: str, title: str, name: str, kind: str, length: int, codes: str = "", *,
    key_order: str = "",
) -> dict[str, str]:  # fmt: skip
    return {
        "file_id": file_id, "position": "", "title_ja": title, "name": name, "type": kind,
        "length": str(length), "required": "Y", "condition": "", "key_order": key_order,
        "search": "", "sensitivity": "basic", "code_list": codes, "profiles": "a", "urgent": "0",
    }  # fmt: skip
