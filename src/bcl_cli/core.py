"""`bcl core`: the synthetic core business system of a town, for demos, trials and tests."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bcl_gateway.japanese_help import JapaneseGroup

if TYPE_CHECKING:
    from bcl_sim.core_system.town import Town

REFUSED = 3
_STATE = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="町の状態を置くフォルダ",
)


class CoreRefused(click.ClickException):
    """An expected no, with its code (exit 3)."""

    exit_code = REFUSED

    def __init__(self, code: str) -> None:
        from bcl_contract.refusals import Refusal

        text = Refusal(code).as_json()
        super().__init__(f"{text['code']}: {text['text']} {text['how']}")

    def show(self, file: object = None) -> None:
        click.echo(self.message, err=True)


@contextmanager
def _bar(total: int, label: str) -> Iterator[Callable[[int], None]]:
    """A progress bar that only a terminal sees."""
    with click.progressbar(length=total, label=label) as bar:
        yield bar.update


@contextmanager
def _opened(state: Path) -> Iterator[Town]:
    from bcl_sim.core_system.town import Town

    try:
        town = Town(state)
    except FileNotFoundError:
        raise CoreRefused("CORE_TOWN_NOT_FOUND") from None
    try:
        yield town
    finally:
        town.close()


@click.group(cls=JapaneseGroup)
def core() -> None:
    """住民情報システムの模擬です。架空の町を作り、日を進め、連携ファイルを書き出します。

    氏名・住所・番号はすべて架空で、実在の人とは関係ありません。
    """


@core.command()
@click.option("--municipality", default="999997", show_default=True, help="団体コード（6桁）")
@click.option(
    "--residents", type=click.IntRange(200, 2_000_000), default=10_000, show_default=True,
    help="住民の数",
)  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True, help="乱数の種。同じ種なら同じ町")
@click.option("--start", type=click.DateTime(["%Y-%m-%d"]), help="町の最初の日（省略時は今日）")
@click.option("--issuer-key", help="電子証明書の発行者識別（16進64桁）")
@click.option("--tax/--no-tax", default=True, show_default=True, help="税のファイルも作る")
@click.option(
    "--seal-images", type=click.FloatRange(0, 1), default=0.05, show_default=True,
    help="印影を付ける印鑑登録の割合",
)  # fmt: skip
@_STATE
def generate(
    *,
    municipality: str,
    residents: int,
    seed: int,
    start: dt.datetime | None,
    issuer_key: str | None,
    tax: bool,
    seal_images: float,
    state: Path,
) -> None:
    """町を新しく作ります。"""
    from bcl_sim.core_system import numbers
    from bcl_sim.core_system.town import Town

    with _bar(residents, "町を作っています") as progress:
        try:
            town = Town.generate(
                state,
                municipality_code=municipality,
                residents=residents,
                seed=seed,
                start_on=start.date() if start else None,
                issuer_key=issuer_key or numbers.MAIN_ISSUER_KEY,
                with_tax=tax,
                seal_image_share=seal_images,
                progress=progress,
            )
        except FileExistsError:
            raise CoreRefused("CORE_TOWN_EXISTS") from None
        except ValueError as fault:
            raise click.UsageError("団体コードが正しくありません（検査数字を確認）。") from fault
    click.echo(f"{town.municipality_code} の住民 {residents:,} 人を作りました: {state}")
    town.close()


@core.command()
@click.option("--days", type=click.IntRange(1, 400), default=1, show_default=True, help="日数")
@click.option("--at-least-one-of-each", is_flag=True, help="すべての種類の異動を一度は起こす")
@click.option(
    "--correct-share", type=click.FloatRange(0, 1), default=0.0,
    help="住民のこの割合を一括で職権修正する（例: 0.01）",
)  # fmt: skip
@_STATE
def advance(days: int, at_least_one_of_each: bool, correct_share: float, state: Path) -> None:
    """日を進めます（出生・死亡・転入・転出・転居・婚姻など）。"""
    with _opened(state) as town, _bar(days, "日を進めています") as progress:
        counts = town.advance(days, at_least_one_of_each=at_least_one_of_each, progress=progress)
    for name, count in sorted(counts.items()):
        click.echo(f"  {name}: {count:,} 件")
    click.echo(f"異動は合わせて {sum(counts.values()):,} 件です。")


@core.command()
@click.option(
    "--mode", type=click.Choice(["full", "differential"]), required=True,
    help="full は全件、differential は前回からの差分",
)  # fmt: skip
@click.option(
    "--lane", type=click.Choice(["main", "urgent"]), default="main", show_default=True,
    help="urgent は発行を止める行だけを急いで送る",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True,
    help="連携ゲートウェイが見るフォルダ",
)  # fmt: skip
@click.option("--files", help="書き出すファイル（例: J01,J05）。省略時はすべて")
@click.option("--break", "defect", help="わざと壊す種類（試験用）。list で一覧")
@_STATE
def export(
    *, mode: str, lane: str, out: Path, files: str | None, defect: str | None, state: Path
) -> None:
    """連携ファイルを書き出します。"""
    if defect == "list":
        from bcl_sim.core_system.broken import all_defects

        for name, text in all_defects().items():
            click.echo(f"  {name:<28} {text}")
        return
    with _opened(state) as town:
        chosen = tuple(files.split(",")) if files else None
        with _bar(len(chosen or town.file_ids), "書き出しています") as progress:
            try:
                result = town.export(
                    out, mode=mode, lane=lane, files=chosen, defect=defect, progress=progress
                )
            except FileExistsError:
                raise CoreRefused("CORE_EXPORT_EXISTS") from None
            except ValueError as fault:
                raise click.UsageError(str(fault)) from fault
    for file_id, rows in result.rows.items():
        click.echo(f"  {file_id}: {rows:,} 件")
    click.echo(f"書き出しました（{result.as_of} 時点）: {result.folder}")


@core.command()
@click.option(
    "--from", "source", type=click.Path(path_type=Path, exists=True), required=True,
    help="開いたリカバリデータ（zip かフォルダ）",
)  # fmt: skip
@click.option("--municipality", default="999997", show_default=True, help="団体コード（6桁）")
@click.option("--today", type=click.DateTime(["%Y-%m-%d"]), help="町の日付（省略時は今日）")
@_STATE
def restore(source: Path, municipality: str, today: dt.datetime | None, state: Path) -> None:
    """リカバリデータから、空の住民情報システムを作り直します。"""
    from bcl_contract import clock
    from bcl_sim.core_system.town import Town

    try:
        town = Town.restore(
            state, source, municipality_code=municipality,
            today=today.date() if today else clock.today(),
        )  # fmt: skip
    except FileExistsError:
        raise CoreRefused("CORE_TOWN_EXISTS") from None
    except ValueError as fault:
        raise CoreRefused("CORE_RECOVERY_UNREADABLE") from fault
    for name, count in town.counts().items():
        click.echo(f"  {name}: {count:,} 件")
    click.echo(f"作り直しました: {state}")
    town.close()


@core.command()
@click.option(
    "--with", "source", type=click.Path(path_type=Path, exists=True), required=True,
    help="開いたリカバリデータ（zip かフォルダ）",
)  # fmt: skip
@click.option("--export", "export_number", type=int, help="何番目の書き出しの時点か（省略時は今）")
@_STATE
def compare(source: Path, export_number: int | None, state: Path) -> None:
    """リカバリデータが町の記録と一致するかを確かめます。"""
    with _opened(state) as town:
        try:
            result = town.compare_recovery(source, export_number=export_number)
        except ValueError as fault:
            raise CoreRefused("CORE_RECOVERY_UNREADABLE") from fault
    for file in result.files:
        mark = "一致" if file.equal else f"不足 {file.missing:,}・余分 {file.surplus:,}"
        click.echo(f"  {file.file_id}: {file.expected:,} 件  {mark}")
    if not result.equal:
        raise CoreRefused("CORE_RECOVERY_DIFFERENT")
    click.echo("すべて一致しました。")


@core.command()
@_STATE
def status(state: Path) -> None:
    """町の今の状態を表示します。"""
    with _opened(state) as town:
        click.echo(f"団体コード: {town.municipality_code}")
        click.echo(f"町の日付: {town.today.isoformat()}")
        for name, count in town.counts().items():
            click.echo(f"  {name}: {count:,} 件")
        click.echo(f"送っていない異動: {town.pending():,} 件")
        for record in town.exports():
            click.echo(f"  {record.number:>4} {record.mode} {record.lane} {record.as_of}")
