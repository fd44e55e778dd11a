"""`bcl reconcile`: is the store the same as the core system, and where not."""

from __future__ import annotations

import json
import re
import sys
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from bcl_cli.staff_acts import Refused, municipality_option, start
from bcl_gateway.japanese_help import JapaneseCommand

if TYPE_CHECKING:
    from bcl.resident_store.api import Differences, FileDifferences
    from bcl_contract.linkage.layouts import Layout

KINDS = {
    "CHANGED": "内容が違う",
    "ONLY_IN_CORE": "住民情報システムだけにある",
    "ONLY_IN_STORE": "中間DBだけにある",
    "REPEATED": "住民情報システムの中で重なっている",
}
_SHOWN = 20
# As the core system names it, or as it stands in a transmission. Individual numbers (J07) have a
# table of their own and are not compared here.
_FULL_FILE = re.compile(
    r"(?:^|/)([0-9]{6})_((?!J07)[A-Z][0-9]{2})_F(?:_[0-9]{8}_[0-9]{14})?\.csv$", re.ASCII
)
# As a core system writes it, or as it stands in a transmission (with sequence and time).
_TABLE_NAME = re.compile(r"([0-9]{6})_([A-Z][0-9]{2})_F(?:_[0-9]{8}_[0-9]{14})?[.]csv")


@click.command("reconcile", cls=JapaneseCommand)
@municipality_option()
@click.option(
    "--against", required=True, metavar="場所",
    type=click.Path(exists=True, path_type=Path),
    help="住民情報システムが書き出した全件（フォルダ・zip）",
)
@click.option("--json", "as_json", is_flag=True, help="JSON で出す")
def reconcile(municipality_code: str, against: Path, *, as_json: bool) -> None:
    """住民情報システムの全件と中間DBを照合し、違う行と項目名を示します（値は出しません）。

    すべて等しければ 0、違いがあれば 3 で終わります。
    """
    start()
    from bcl.resident_store import api as store
    from bcl_contract import clock
    from bcl_contract.linkage.findings import TableFault
    from bcl_contract.refusals import Refusal

    with opened_export(against, municipality_code) as files:
        if not files:
            raise Refused(Refusal("RECONCILE_NO_FILES"))
        try:
            found = store.reconcile(municipality_code, files, at=clock.now())
        except TableFault as fault:
            raise Refused(Refusal(fault.findings[0].code)) from None
    if as_json:
        click.echo(json.dumps(found.as_json(), ensure_ascii=False))
    else:
        _show(found)
    sys.exit(0 if found.equal else 3)


@contextmanager
def opened_export(
    place: Path, municipality_code: str
) -> Iterator[list[tuple[str, Layout, BinaryIO]]]:
    """The tables of this municipality in a folder or a zip, open for reading."""
    from bcl_contract.linkage.layouts import load_interface
    layouts = load_interface().files
    with ExitStack() as stack:
        sources: dict[str, Any]
        if place.is_dir():
            sources = {path.name: path for path in sorted(place.rglob("*.csv"))}
        else:
            package = stack.enter_context(_zip(place))
            sources = {name: zipfile.Path(package, name) for name in sorted(package.namelist())}
        opened: list[tuple[str, Layout, BinaryIO]] = []
        for name, source in sources.items():
            parts = _TABLE_NAME.fullmatch(name)
            if parts and parts[1] == municipality_code and parts[2] in layouts:
                stream = stack.enter_context(source.open("rb"))
                opened.append((parts[2], layouts[parts[2]], stream))
        yield opened


def _zip(place: Path) -> zipfile.ZipFile:
    from bcl_contract.refusals import Refusal

    try:
        return zipfile.ZipFile(place)
    except (zipfile.BadZipFile, OSError):
        raise Refused(Refusal("RECONCILE_NO_FILES")) from None


def _show(found: Differences) -> None:
    click.echo(f"団体 {found.municipality_code}　反映番号 {found.load_number}")
    for each in found.files:
        state = "等しい" if each.equal else f"違い {each.total:,} 件"
        click.echo(
            f"  {each.file_id} {each.title_ja}: 住民情報システム {each.core_rows:,} 件、"
            f"中間DB {each.store_rows:,} 件　{state}"
        )
        _show_differences(each)
    click.echo("すべて等しいことを確かめました。" if found.equal else "違いがあります。")


def _show_differences(found: FileDifferences) -> None:
    for each in found.differences[:_SHOWN]:
        where = f"{each.line:,} 行目" if each.line else "行なし"
        columns = "、".join(each.columns)
        click.echo(
            f"    {where}　{KINDS[each.kind]}　記録 {each.record_key}"
            + (f"　項目: {columns}" if columns else "")
        )
    if found.total > _SHOWN:
        click.echo(f"    ほか {found.total - _SHOWN:,} 件（--json で 1,000 件まで出ます）")
