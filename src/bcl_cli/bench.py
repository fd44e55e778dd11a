"""`bcl bench`: measure, and compare with peers in the same run.

The benchmarks live in `bench/` of the checkout: each module has `run(rows, repeats)` and gives a
dict with name, rows, seconds (median), peak_memory_mb and ratios by peer (ours ÷ theirs as speed:
2.0 means twice as fast).
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import click

from bcl_gateway.japanese_help import JapaneseCommand

FOLDER = Path(__file__).resolve().parents[2] / "bench"
# Name -> rows when none are asked for: what `make bench` can afford on two cores.
BENCHES = {
    "load": 1_000_000,
    "diff": 1_000_000,
    "recovery": 1_000_000,
    "reconcile": 1_000_000,
    "lookup": 200_000,
    "certificate": 200,
}


def run_bench(name: str, rows: int, repeats: int) -> dict[str, Any]:
    """Run one benchmark module of the checkout."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", FOLDER / f"{name}.py")
    if spec is None or spec.loader is None or not (FOLDER / f"{name}.py").is_file():
        raise click.ClickException(f"性能測定 {name} は、取り出したソースの中でだけ動きます。")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(FOLDER))
    spec.loader.exec_module(module)
    result: dict[str, Any] = module.run(rows=rows, repeats=repeats)
    return result


def describe(result: dict[str, Any]) -> str:
    """One readable line of a result."""
    ratios = "、".join(f"{peer} の {value:.2f} 倍" for peer, value in result["ratios"].items())
    return (
        f"{result['name']:<12} {result['rows']:>10,} 件  {result['seconds']:>8.3f} 秒  "
        f"最大 {result['peak_memory_mb']:>5.0f} MB  {ratios}"
    )


@click.command("bench", cls=JapaneseCommand)
@click.argument(
    "name",
    type=click.Choice([*BENCHES, "all"]),
    metavar="[load|diff|recovery|reconcile|lookup|certificate|all]",
)
@click.option("--rows", type=click.IntRange(min=1), help="件数（住民の数、証明書は通数）")
@click.option(
    "--repeats", type=click.IntRange(min=1), default=3, help="繰り返す回数（中央値を取る）"
)
@click.option("--json", "as_json", is_flag=True, help="結果を一行の JSON で出す")
def bench(name: str, rows: int | None, repeats: int, as_json: bool) -> None:
    """性能を測り、同じ実行の中の比較相手との比を表示します。

    比は速さの比です。2.00 は相手の二倍速いことを示します。
    """
    for each in BENCHES if name == "all" else [name]:
        result = run_bench(each, rows or BENCHES[each], repeats)
        click.echo(json.dumps(result, ensure_ascii=False) if as_json else describe(result))
