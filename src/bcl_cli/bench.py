"""`bcl bench`: measure, and compare with peers in the same run.

The benchmarks live in `bench/` of the checkout: each module has `run(rows, repeats)` and gives a
dict with name, rows, seconds (median), peak_memory_mb and ratios by peer (ours ÷ theirs as speed:
2.0 means twice as fast).
"""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bcl_gateway.japanese_help import JapaneseCommand

FOLDER = Path(__file__).resolve().parents[2] / "bench"
# Name -> rows when none are asked for: what `make bench` can afford on two cores.
BENCHES = {
    "load": 1_000_000,
    "small_load": 50_000,
    "diff": 1_000_000,
    "recovery": 1_000_000,
    "reconcile": 1_000_000,
    "lookup": 200_000,
    "partial_name": 200_000,
    "certificate": 200,
    "pages": 100_000,
}
TITLES = {
    "load": "全件の取り込み（検査・暗号化・検索索引まで）",
    "small_load": "小さな町の全件の取り込み",
    "diff": "1% が変わった毎日の全件",
    "recovery": "リカバリデータの書き出し",
    "reconcile": "照合（一項目だけ違う全件）",
    "lookup": "一人を検索キーで引いて復号",
    "partial_name": "氏名の一部での検索",
    "certificate": "証明書 PDF の作成",
    "pages": "管理者ページ（中間DB参照・監査ログ）",
}
MOST_MEMORY_MB = 512
_LOADS_AND_EXPORTS = frozenset({"load", "small_load", "diff", "recovery"})


@dataclass(frozen=True)
class Goal:
    """A ratio (as speed: 2.0 = twice as fast) by peer, and how to read the peer."""

    peer: str
    title_ja: str
    at_least: float


GOALS = {
    "load": (
        Goal("copy", "平文の COPY（索引なし）", 0.9),
        Goal("copy_with_indexes", "平文の COPY と同じ列の索引", 1.4),
    ),
    "small_load": (
        Goal("bulk_create", "Django の bulk_create（平文）", 20.0),
        Goal("django_import_export", "django-import-export（平文）", 100.0),
    ),
    "diff": (Goal("copy", "平文の COPY", 2.0),),
    "recovery": (
        Goal("copy_to", "平文の COPY TO（取り込んだまま）", 4.0),
        Goal("pg_dump", "pg_dump -Fc（取り込んだまま）", 20.0),
        Goal("copy_to_after_30_days", "平文の COPY TO（差分 30 日のあと）", 1.2),
    ),
    "reconcile": (Goal("copy_to", "平文の COPY TO", 0.5),),
    "lookup": (Goal("plain_row_p99", "平文の行の主キー読み（p99）", 0.2),),
    "partial_name": (Goal("pg_trgm_p95", "平文の pg_trgm（p95）", 1 / 3),),
    "certificate": (Goal("reportlab_cpu", "ReportLab（CPU 時間）", 6.0),),
    # A page at most twice as long as its query.
    "pages": (
        Goal("query_search_name", "氏名の検索の問合せだけ（p95）", 0.5),
        Goal("query_person", "一人の記録の問合せだけ（p95）", 0.5),
        Goal("query_household", "世帯の問合せだけ（p95）", 0.5),
        Goal("query_audit_deep", "監査ログの問合せだけ（奥のページ、p95）", 0.5),
    ),
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
    """A result for people: one line of what was done, one for each figure with its goal."""
    name = result["name"]
    head = f"{TITLES[name]}: {result['rows']:,} 件"
    lines = [f"{head}、{result['seconds']:.3f} 秒、最大メモリ {result['peak_memory_mb']:.0f} MB"]
    cpu = result.get("cpu_ratios", {})
    for goal in GOALS[name]:
        ratio = result["ratios"][goal.peer]
        beside = f"（CPU 時間では {cpu[goal.peer]:.2f} 倍）" if goal.peer in cpu else ""
        lines.append(
            f"  {_mark(ratio >= goal.at_least)} {goal.title_ja}に対し {ratio:.2f} 倍の速さ"
            f"{beside}、目標 {goal.at_least:.2f} 倍以上"
        )
    if name in _LOADS_AND_EXPORTS:
        within = result["peak_memory_mb"] <= MOST_MEMORY_MB
        lines.append(f"  {_mark(within)} 最大メモリの目標 {MOST_MEMORY_MB} MB 以下")
    return "\n".join(lines)


def _mark(met: bool) -> str:
    return "達成  " if met else "未達成"


@click.command("bench", cls=JapaneseCommand)
@click.argument(
    "name",
    type=click.Choice([*BENCHES, "all"]),
    metavar=f"[{'|'.join(BENCHES)}|all]",
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
