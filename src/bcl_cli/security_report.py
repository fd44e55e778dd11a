"""`bcl security-report`: the security self-report of a municipality, with evidence (R-168)."""

from __future__ import annotations

import json

import click

from bcl_cli.staff_acts import municipality_option, start
from bcl_gateway.japanese_help import JapaneseCommand

RESULTS = {True: "適合", False: "不適合", None: "対象外"}
NOT_FULFILLED = 3


@click.command("security-report", cls=JapaneseCommand)
@municipality_option()
@click.option("--json", "as_json", is_flag=True, help="JSON で出す")
@click.pass_context
def security_report(context: click.Context, municipality_code: str, *, as_json: bool) -> None:
    """団体のセキュリティ自己点検を行います。満たしていない項目があると終了コード 3 です。"""
    start()
    from dataclasses import asdict

    from bcl.console import self_report
    from bcl.foundation import clock
    from bcl.municipalities import api

    api.get_municipality(municipality_code)
    findings = self_report.make_report(municipality_code, at=clock.now())
    if as_json:
        click.echo(json.dumps([asdict(one) for one in findings], ensure_ascii=False, indent=1))
    else:
        for one in findings:
            click.echo(f"{RESULTS[one.holds]}　{one.title_ja}（{one.code}）")
            click.echo(f"  {one.evidence_ja}")
            if one.holds is False:
                click.echo(f"  対応: {one.how_ja}")
    if any(one.holds is False for one in findings):
        context.exit(NOT_FULFILLED)
