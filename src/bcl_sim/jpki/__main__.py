"""The simulated JPKI as a program: ``python -m bcl_sim.jpki``."""

import json
import sys
from datetime import date, datetime, time, timedelta
from pathlib import Path

import click
from cryptography.hazmat.primitives.serialization import Encoding

from bcl_contract import clock
from bcl_sim.jpki.authority import (
    CARD_LIFETIME,
    Authority,
    AuthorityError,
    Period,
    Purpose,
    State,
    parse_serial,
)
from bcl_sim.jpki.card import issue_card
from bcl_sim.jpki.card_list import find_listed_card, issue_listed_card
from bcl_sim.jpki.ocsp_responder import OcspResponder
from bcl_sim.serving import serve

REFUSED = 3
state_option = click.option(
    "--state", "directory", required=True, type=click.Path(path_type=Path), help="認証局の保存先"
)
serial_option = click.option("--serial", required=True, help="電子証明書の発行番号（16進大文字）")
pin_option = click.option("--pin", required=True, help="暗証番号（数字4桁）")


@click.group(
    help="模擬の公的個人認証サービス（認証局・失効確認・ソフトウェアカード）を動かします。"
)
def main() -> None:
    """Group the commands."""


@main.command("init", help="認証局を作ります（あれば何もしません）。")
@state_option
@click.option("--ocsp-url", default=None, help="電子証明書に書く失効確認の宛先")
def init_command(directory: Path, ocsp_url: str | None) -> None:
    """Make the authorities."""
    authority = Authority(directory)
    authority.initialise(clock.now(), ocsp_url=ocsp_url)
    click.echo(f"認証局の証明書: {authority.trust_roots_path}")


@main.command("serve", help="失効確認（OCSP）と失効リスト（/crl）を提供します。")
@state_option
@click.option("--bind", default="127.0.0.1:8470", show_default=True, help="待ち受け（host:port）")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 16))
def serve_command(directory: Path, bind: str, workers: int) -> None:
    """Serve until stopped."""
    Authority(directory).initialise(clock.now())
    serve(lambda: OcspResponder(Authority(directory)), name="jpki", bind=bind, workers=workers)


@main.command("issue-card", help="ソフトウェアカードを発行します。")
@state_option
@click.option("--serial", default=None, help="電子証明書の発行番号（16進大文字）")
@click.option(
    "--cards", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=None,
    help="住民情報システムのカード一覧（cards.jsonl）。有効期間と状態も一覧に従います",
)  # fmt: skip
@click.option("--addressee", default=None, help="宛名番号（--cards と使います）")
@pin_option
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--valid-from", default=None, help="有効期間の開始日（YYYY-MM-DD）")
@click.option("--expires-on", default=None, help="有効期間の満了日（YYYY-MM-DD）")
@click.option("--signature-purpose", is_flag=True, help="署名用電子証明書にします（試験用）")
def issue_card_command(
    *,
    directory: Path,
    serial: str | None,
    cards: Path | None,
    addressee: str | None,
    pin: str,
    out: Path,
    valid_from: str | None,
    expires_on: str | None,
    signature_purpose: bool,
) -> None:
    """Issue one card, from the list or from the options."""
    authority, at = Authority(directory), clock.now()
    if cards is not None:
        if (serial is None) == (addressee is None):
            raise click.UsageError(
                "--cards には --serial か --addressee のどちらか一つが要ります。"
            )
        listed = find_listed_card(cards, serial_number=serial, addressee_number=addressee)
        issue_listed_card(authority, listed, out, pin=pin, at=at)
        click.echo(f"カードを発行しました（状態: {listed.state}）: {out}")
        return
    if serial is None:
        raise click.UsageError("--serial が要ります。")
    issue_card(
        authority,
        out,
        serial_number=parse_serial(serial),
        pin=pin,
        period=_period(valid_from, expires_on, at),
        purpose=Purpose.SIGNATURE if signature_purpose else Purpose.USER_AUTH,
    )
    click.echo(f"カードを発行しました: {out}")


def _period(valid_from: str | None, expires_on: str | None, at: datetime) -> Period:
    try:
        starts = _midnight(valid_from) if valid_from else at - timedelta(minutes=1)
        ends = _midnight(expires_on) + timedelta(days=1, seconds=-1) if expires_on else None
    except ValueError:
        raise click.UsageError("日付はYYYY-MM-DDで指定してください。") from None
    return Period(starts, ends or at + CARD_LIFETIME)


def _midnight(text: str) -> datetime:
    return datetime.combine(date.fromisoformat(text), time.min, clock.JST)


@main.command("revoke", help="電子証明書を失効させます（戻せません）。")
@state_option
@serial_option
@click.option(
    "--reason", default="unspecified", show_default=True, help="失効の理由",
    type=click.Choice(["unspecified", "keyCompromise", "affiliationChanged", "superseded",
                       "cessationOfOperation"]),
)  # fmt: skip
def revoke_command(directory: Path, serial: str, reason: str) -> None:
    """Revoke."""
    authority = Authority(directory)
    authority.set_state(parse_serial(serial), State.REVOKED, clock.now(), reason=reason)
    click.echo("失効させました。")


@main.command("suspend", help="電子証明書を一時停止します。")
@state_option
@serial_option
def suspend_command(directory: Path, serial: str) -> None:
    """Suspend."""
    Authority(directory).set_state(parse_serial(serial), State.SUSPENDED, clock.now())
    click.echo("一時停止しました。")


@main.command("resume", help="電子証明書の一時停止を解除します。")
@state_option
@serial_option
def resume_command(directory: Path, serial: str) -> None:
    """Resume."""
    Authority(directory).set_state(parse_serial(serial), State.GOOD, clock.now())
    click.echo("一時停止を解除しました。")


@main.command("renew", help="新しい発行番号でカードを作り、古い電子証明書を失効させます。")
@state_option
@click.option("--old-serial", required=True, help="これまでの発行番号")
@serial_option
@pin_option
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path))
def renew_command(directory: Path, old_serial: str, serial: str, pin: str, out: Path) -> None:
    """Renew: the new certificate exists before the old one ends."""
    authority, at = Authority(directory), clock.now()
    issue_card(
        authority,
        out,
        serial_number=parse_serial(serial),
        pin=pin,
        period=_period(None, None, at),
    )
    authority.set_state(parse_serial(old_serial), State.REVOKED, at, reason="superseded")
    click.echo(f"カードを更新しました: {out}")


@main.command("crl", help="失効リスト（DER）を書き出します。")
@state_option
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path))
def crl_command(directory: Path, out: Path) -> None:
    """Write the list."""
    out.write_bytes(Authority(directory).crl(clock.now()).public_bytes(Encoding.DER))
    click.echo(f"失効リスト: {out}")


@main.command("status", help="電子証明書の数を状態ごとに示します（JSON）。")
@state_option
def status_command(directory: Path) -> None:
    """Print counts."""
    click.echo(json.dumps(Authority(directory).counts()))


def run() -> None:
    """Run the program; a wish that can't be granted ends with one sentence and exit code 3."""
    try:
        main()
    except AuthorityError as error:
        click.echo(str(error), err=True)
        sys.exit(REFUSED)


if __name__ == "__main__":
    run()
