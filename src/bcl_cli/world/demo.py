"""`make demo`: one straight line through everything, with counts and times.

A town's data goes out and lands, a day passes, everything is compared, a family's certificate is
issued, a protected household is refused, and the recovery package comes back equal.
"""

from __future__ import annotations

import shutil
import traceback
from pathlib import Path

from bcl_cli.world.commands import keep_running
from bcl_cli.world.line import Line
from bcl_cli.world.places import Places
from bcl_cli.world.processes import ProgramFault
from bcl_cli.world.walk import Walk, WalkFault
from bcl_cli.world.world import World

TOWN = "999997"


def run_demo(*, residents: int, check: bool, keep: bool) -> int:
    """Build a fresh world, walk the line, keep serving until Ctrl-C (or end at once with `check`).

    Returns the exit code: 0 when every step gave what it must, 1 otherwise. Results stay in
    `var/demo`; the world itself is removed unless `keep`.
    """
    places = Places.of()
    world = World(places, towns=[TOWN])
    world.destroy()
    shutil.rmtree(places.results, ignore_errors=True)
    places.results.mkdir(parents=True)
    walk = Walk(places.results)
    walk.console.print(
        f"\n[bold]BCL デモ[/bold]　サンプル市（{TOWN}）　住民 {residents:,} 人　すべて架空\n"
    )
    world = World(places, towns=[TOWN])
    try:
        walk_the_line(world, walk, residents)
        tell(walk, world)
        if not check:
            walk.console.print("止めるには Ctrl-C を押してください。")
            keep_running(world)
        return 0
    except (WalkFault, ProgramFault) as fault:
        walk.console.print(f"[bold red]止まりました:[/bold red] {fault}")
        walk.console.print(f"記録: {places.logs}")
        keep = True
        return 1
    except KeyboardInterrupt:
        return 0
    except Exception:  # the person at the terminal must see what broke
        traceback.print_exc()
        keep = True
        return 1
    finally:
        finish(world, keep=keep)


def walk_the_line(world: World, walk: Walk, residents: int) -> None:
    """The steps in their order."""
    with walk.step("データベースと鍵を用意し、すべてを起動") as step:
        world.build()
        world.start()
        step.count, step.result = f"{len(world.supervisor.running)} 個", "動作中"
    line = Line(world, walk, TOWN)
    try:
        line.make_the_town(residents)
        line.send_everything()
        line.live_a_day()
        line.compare_everything()
        line.issue_to_a_family()
        line.issue_seal_and_tax()
        line.refuse_a_protected_household()
        line.recover()
    finally:
        line.close()


def tell(walk: Walk, world: World) -> None:
    """The end of the report: where the results are."""
    results = walk.results
    shown = results.relative_to(Path.cwd()) if results.is_relative_to(Path.cwd()) else results
    walk.console.print(f"\n  発行した住民票の写し: {shown / walk.notes['certificate']}")
    walk.console.print(f"  印鑑登録証明書　　　: {shown / walk.notes['seal_certificate']}")
    walk.console.print(f"  所得・課税証明書　　: {shown / walk.notes['tax_certificate']}")
    walk.console.print(f"  リカバリデータ　　　: {shown / walk.notes['package']}")
    walk.console.print(f"  開いた住民票の一覧　: {shown / 'recovery-listing.txt'}")
    walk.console.print(f"  全体のページ　　　　: {world.page_url}")
    walk.console.print(f"  管理者ページ　　　　: {world.console_url}/")
    walk.console.print("  サインインする人　　: .venv/bin/bcl world people\n")


def finish(world: World, *, keep: bool) -> None:
    """Stop everything; remove the world with its data unless it is to be kept."""
    if keep:
        world.stop()
    else:
        world.destroy()
