"""``bcl kiosk``: a headless kiosk for demos and tests (journey "issue a certificate")."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bcl_contract import clock
from bcl_contract.clock import JST
from bcl_contract.delivery_center import Scope
from bcl_contract.refusals import Refusal
from bcl_gateway.japanese_help import JapaneseGroup
from bcl_sim.jpki.authority import Authority, AuthorityError
from bcl_sim.jpki.card import SoftwareCard
from bcl_sim.jpki.card_list import find_listed_card, issue_listed_card
from bcl_sim.kiosk import Choice, IssuedPaper, Terminal, connect
from bcl_sim.kiosk import issue as issue_at_kiosk

if TYPE_CHECKING:
    from bcl_cli.world.places import Places

REFUSED = 3
STATIONS = {
    "requested": "キオスク端末　　　　　要求を受け付けました",
    "card_checked_and_inquired": "証明書交付センター　　カードを確かめ、証明書を照会しました",
    "issued": "証明発行（BCL）　　　 証明書を発行しました",
    "received": "証明書（PDF）　　　　 センターが受け取りました",
    "checked_and_sealed": "証明書交付センター　　検査し、支払いまで封をしました",
    "paid_and_printed": "キオスク端末　　　　　支払いを受け、印刷しました",
}
file_type = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(cls=JapaneseGroup)
def kiosk() -> None:
    """キオスク端末の模擬です。カードを使って証明書を発行します。"""


@kiosk.command("issue")
@click.option("--municipality", required=True, help="団体コード（6桁）")
@click.option("--card", "card_path", required=True, type=file_type, help="カードのファイル")
@click.option(
    "--pin", prompt="暗証番号（数字4桁）", hide_input=True, help="利用者証明用の暗証番号（数字4桁）"
)
@click.option(
    "--kind", default="resident_record_copy", show_default=True,
    help="証明書の種類（resident_record_copy は住民票の写し）",
)  # fmt: skip
@click.option(
    "--scope", default="all", show_default=True, type=click.Choice(["all", "part", "self"]),
    help="all は世帯全員、part は世帯の一部、self は本人だけ",
)  # fmt: skip
@click.option(
    "--member", "members", multiple=True, type=click.IntRange(1, 50),
    help="part のとき: 表示される世帯員の順番（1から。繰り返し可）",
)  # fmt: skip
@click.option("--show", default="", help="記載する項目（コンマ区切り。例: head,domicile）")
@click.option("--tax-year", type=int, default=None, help="税証明の年度（西暦）")
@click.option("--copies", default=1, show_default=True, type=click.IntRange(1, 50), help="通数")
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path),
    help="証明書（PDF）の保存先フォルダー",
)  # fmt: skip
@click.option("--terminal", default="kiosk-1", show_default=True, help="端末の名前")
@click.option(
    "--center", "center_url", default=None, envvar="BCL_CENTER_URL",
    help="証明書交付センターの宛先（https://…）。省くとこの世界のセンター",
)  # fmt: skip
@click.option(
    "--pki", "pki_directory", default=None, envvar="BCL_WORLD_PKI",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="機器の証明書のフォルダー。省くとこの世界のもの",
)  # fmt: skip
@click.option(
    "--kiosk-number", default=1, show_default=True, type=click.IntRange(1, 99),
    help="使う端末証明書の番号",
)  # fmt: skip
def issue_command(
    *,
    municipality: str,
    card_path: Path,
    pin: str,
    kind: str,
    scope: str,
    members: tuple[int, ...],
    show: str,
    tax_year: int | None,
    copies: int,
    out: Path,
    terminal: str,
    center_url: str | None,
    pki_directory: Path | None,
    kiosk_number: int,
) -> None:
    """カードで本人を確かめ、証明書を選び、支払い、PDFを保存します。"""
    choice = Choice(
        certificate_kind=kind.upper(),
        scope=Scope(scope.upper()),
        members=members,
        show=tuple(item.strip() for item in show.split(",") if item.strip()),
        tax_year=tax_year,
        copies=copies,
    )
    center_url, pki_directory = center_url or _center_of_world(), pki_directory or _places().pki
    with connect(
        center_url,
        cert=pki_directory / f"kiosk-{kiosk_number}.pem",
        key=pki_directory / f"kiosk-{kiosk_number}.key",
        center_authorities=pki_directory / "center-ca.pem",
    ) as line:
        paper = issue_at_kiosk(
            line,
            SoftwareCard(card_path),
            pin=pin,
            municipality_code=municipality,
            choice=choice,
            out=out,
            terminal=Terminal(terminal=terminal),
        )
    if isinstance(paper, Refusal):
        click.echo(_refusal_text(paper), err=True)
        sys.exit(REFUSED)
    click.echo(_paper_text(paper))


@kiosk.command("card")
@click.option("--municipality", required=True, help="団体コード（6桁）")
@click.option("--addressee", required=True, help="宛名番号")
@click.option(
    "--pin", prompt="暗証番号（数字4桁）", hide_input=True, help="これから使う暗証番号（数字4桁）"
)
@click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path),
    help="カードのファイルの保存先",
)  # fmt: skip
def card_command(municipality: str, addressee: str, pin: str, out: Path) -> None:
    """模擬の住民一人のカードを作ります（この世界の模擬JPKIが発行します）。"""
    if not (len(pin) == 4 and pin.isascii() and pin.isdigit()):
        raise click.UsageError("暗証番号は数字4桁です。")
    places = _places()
    try:
        listed = find_listed_card(
            places.town(municipality, "core") / "town" / "cards.jsonl", addressee_number=addressee
        )
        authority = Authority(places.state / "jpki")
        issue_listed_card(authority, listed, out, pin=pin, at=clock.now())
    except FileNotFoundError:
        click.echo("この団体のカード一覧がありません。先に町を作ってください。", err=True)
        sys.exit(REFUSED)
    except AuthorityError as error:
        click.echo(str(error), err=True)
        sys.exit(REFUSED)
    click.echo(f"カードを作りました: {out}")


def _places() -> "Places":
    from bcl_cli.world.places import Places

    places = Places.of()
    if not (places.state / "ports.json").is_file():
        raise click.UsageError(
            "動いている世界がありません。bcl world up を先に実行するか、指定を省かないでください。"
        )
    return places


def _center_of_world() -> str:
    return f"https://localhost:{_places().ports()['center']}"


def _refusal_text(refusal: Refusal) -> str:
    text = refusal.text
    lines = [f"{text.text_ja}（{refusal.code}）"]
    if "tries_left" in refusal.detail:
        lines.append(f"あと{refusal.detail['tries_left']}回入力できます。")
    lines.append(f"{text.how_ja}（{text.who_can_fix_ja}）")
    return "\n".join(lines)


def _paper_text(paper: IssuedPaper) -> str:
    lines = [f"取引番号 {paper.transaction_number}"]
    for place, hop in enumerate(paper.hops, start=1):
        at = hop.at.astimezone(JST).strftime("%H:%M:%S.%f")[:-3]
        lines.append(f"  {place}. {at}　{STATIONS[hop.act]}　取引番号 {paper.transaction_number}")
    lines += [
        f"{paper.title}　{paper.copies}通　{paper.pages}ページ　手数料 {paper.fee_yen:,}円",
        f"発行番号 {paper.document_number}　データの時点 "
        + paper.data_as_of.astimezone(JST).strftime("%Y-%m-%d %H:%M:%S"),
        f"保存先 {paper.pdf_path}",
    ]
    return "\n".join(lines)
