"""`bcl register`: the operator makes towns, their equipment, staff and receivers known to BCL.

Run on the cloud's own machine by the agency. The acts are audited under the operator's account
there; everything may be run again, the same registration changes nothing.
"""

from __future__ import annotations

import getpass
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bcl_cli.staff_acts import Refused, municipality_option, or_refuse, start
from bcl_gateway.japanese_help import JapaneseGroup

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from bcl.foundation.audit import Actor

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group(cls=JapaneseGroup)
def register() -> None:
    """団体・連携装置・センター・職員・リカバリデータの受領者を登録し、失効させます（機構の運用者用）。"""


def certificate_options(command: Any) -> Any:
    """`--certificate FILE --signing-key FILE`: what a party's machine is known by."""
    command = click.option(
        "--signing-key",
        "signing_key",
        required=True,
        type=_FILE,
        metavar="公開鍵ファイル",
        help="署名検証用の公開鍵（PEM、Ed25519）",
    )(command)
    return click.option(
        "--certificate",
        required=True,
        type=_FILE,
        metavar="証明書ファイル",
        help="通信に使うクライアント証明書（PEM）",
    )(command)


@register.command()
@municipality_option()
@click.option("--name", "name_ja", required=True, metavar="団体名", help="例: サンプル市")
@click.option(
    "--head-title", "head_title_ja", required=True, metavar="職名", help="例: サンプル市長"
)
@click.option("--mayor", "mayor_name_ja", required=True, metavar="氏名", help="長の氏名")
def municipality(
    municipality_code: str, name_ja: str, head_title_ja: str, mayor_name_ja: str
) -> None:
    """団体を登録し、団体の暗号鍵を作ります。もう一度行うと名称・職名・長の氏名を改めます。"""
    start()
    from bcl.municipalities import api
    from bcl_contract.refusals import Refusal
    from bcl_contract.values import InvalidValue

    try:
        found = api.register_municipality(
            municipality_code=municipality_code,
            name_ja=name_ja,
            head_title_ja=head_title_ja,
            mayor_name_ja=mayor_name_ja,
            by=operator(),
        )
    except InvalidValue:
        raise Refused(Refusal("REGISTRATION_MUNICIPALITY_CODE_INVALID")) from None
    click.echo(f"団体 {found.code} {found.name_ja} を登録しました。")


@register.command()
@municipality_option()
@certificate_options
def gateway(municipality_code: str, certificate: Path, signing_key: Path) -> None:
    """団体の連携装置を、通信用の証明書と署名の公開鍵で登録します。"""
    start()
    from bcl.municipalities import api
    from bcl_contract.refusals import Refusal

    _known(municipality_code)
    pem, key = _certificate(certificate), _public_key(signing_key)
    try:
        found = api.register_gateway_cert(municipality_code, pem, key, by=operator())
    except ValueError:
        raise Refused(Refusal("REGISTRATION_CONFLICT")) from None
    click.echo(f"連携装置 {found.id} を登録しました。")


@register.command()
@click.option("--id", "center_id", required=True, metavar="センター番号", help="例: center-1")
@certificate_options
def center(center_id: str, certificate: Path, signing_key: Path) -> None:
    """証明書交付センターを登録します。もう一度行うと新しい証明書と鍵に替わります。"""
    start()
    from bcl.municipalities import api

    pem, key = _certificate(certificate), _public_key(signing_key)
    found = api.register_delivery_center(_id(center_id), pem, key, by=operator())
    click.echo(f"センター {found.id} を登録しました。")


@register.command()
@click.option(
    "--id", "subscriber_id", required=True, metavar="配り先番号", help="例: school-system"
)
@click.option("--name", "name_ja", required=True, metavar="名称", help="例: 学齢簿システム")
@click.option(
    "--certificate",
    required=True,
    type=_FILE,
    metavar="証明書ファイル",
    help="通信に使うクライアント証明書（PEM）",
)
def subscriber(subscriber_id: str, name_ja: str, certificate: Path) -> None:
    """データの配り先のシステムを、通信用の証明書で登録します。もう一度行うと証明書を替えます。"""
    start()
    from bcl.municipalities import api
    from bcl_contract.refusals import Refusal

    pem = _certificate(certificate)
    try:
        found = api.register_subscriber(_id(subscriber_id), name_ja, pem, by=operator())
    except ValueError:
        raise Refused(Refusal("REGISTRATION_CONFLICT")) from None
    click.echo(f"配り先 {found.id} を登録しました。")


@register.command()
@municipality_option()
@click.option("--id", "staff_id", required=True, metavar="職員番号", help="例: staff-01")
@click.option(
    "--public-key",
    required=True,
    type=_FILE,
    metavar="公開鍵ファイル",
    help="操作に署名する鍵の公開鍵（PEM、Ed25519）",
)
def staff(municipality_code: str, staff_id: str, public_key: Path) -> None:
    """命令に署名して操作する職員を登録します。もう一度行うと鍵を替えます。"""
    start()
    from bcl.municipalities import api

    _known(municipality_code)
    api.register_staff(municipality_code, _id(staff_id), _public_key(public_key), by=operator())
    click.echo(f"職員 {staff_id} を登録しました。")


@register.command()
@municipality_option()
@click.option("--id", "receiver_id", required=True, metavar="受領者番号", help="例: receiver-01")
@click.option("--age-key", "age_key", required=True, metavar="age1…", help="受領者の age 公開鍵")
def receiver(municipality_code: str, receiver_id: str, age_key: str) -> None:
    """リカバリデータを開ける受領者を、age の公開鍵で登録します。"""
    start()
    from bcl.municipalities import api
    from bcl_contract.refusals import Refusal

    _known(municipality_code)
    try:
        api.register_recovery_receiver(municipality_code, _id(receiver_id), age_key, by=operator())
    except ValueError:
        raise Refused(Refusal("REGISTRATION_KEY_INVALID")) from None
    click.echo(f"受領者 {receiver_id} を登録しました。")


@register.command()
@municipality_option()
@click.option(
    "--image", required=True, type=_FILE, metavar="画像ファイル", help="公印の画像（PNG、透明なし）"
)
@click.option("--side-mm", required=True, type=click.FloatRange(5, 60), help="一辺の長さ（ミリ）")
@click.option(
    "--from",
    "valid_from",
    required=True,
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="年-月-日",
    help="この日から使う",
)
def seal(municipality_code: str, image: Path, side_mm: float, valid_from: datetime) -> None:
    """証明書に印刷する公印の画像を、使い始める日とともに登録します。"""
    start()
    from bcl.issuance import api
    from bcl_contract import clock
    from bcl_contract.refusals import Refusal

    _known(municipality_code)
    try:
        digest = api.register_official_seal(
            municipality_code=municipality_code,
            image_png=image.read_bytes(),
            side_mm=side_mm,
            valid_from_on=valid_from.date(),
            by=operator(),
            at=clock.now(),
        )
    except ValueError:
        raise Refused(Refusal("REGISTRATION_SEAL_INVALID")) from None
    click.echo(f"公印を登録しました（SHA-256 {digest[:16]}…）。")


@register.command()
@click.argument(
    "kind",
    type=click.Choice(["gateway", "center", "subscriber", "staff", "terminal"]),
    metavar="種類",
)
@click.argument("party_id", metavar="番号")
@municipality_option(required=False)
def revoke(kind: str, party_id: str, municipality_code: str | None) -> None:
    """連携装置（gateway）・センター（center）・配り先（subscriber）・職員（staff）・端末（terminal）をすぐに失効させます。"""
    if kind in ("staff", "terminal") and municipality_code is None:
        raise click.UsageError("職員と端末を失効させるときは --municipality を指定してください。")
    start()
    from bcl.municipalities import api
    from bcl_contract.refusals import Refusal

    by = operator()
    acts = {
        "gateway": lambda: api.revoke_gateway(party_id, by=by),
        "center": lambda: api.revoke_delivery_center(party_id, by=by),
        "subscriber": lambda: api.revoke_subscriber(party_id, by=by),
        "terminal": lambda: _revoke_terminal(party_id, str(municipality_code)),
        "staff": lambda: api.revoke_staff(str(municipality_code), party_id, by=by),
    }
    done = acts[kind]()
    or_refuse(None if done else Refusal("REGISTRATION_UNKNOWN"))
    click.echo(f"{party_id} を失効させました。")


@register.command()
@click.option("--owner", required=True, metavar="団体コード", help="団体コード（機構は 000000）")
@click.option("--id", "terminal_id", required=True, metavar="端末番号", help="例: t-001")
@click.option("--name", "name_ja", required=True, metavar="端末名", help="例: 市民課の端末1")
@click.option(
    "--class",
    "terminal_class",
    type=click.Choice(["LGWAN", "INDIVIDUAL_NUMBER"]),
    default="LGWAN",
    metavar="区分",
    help="LGWAN（LGWAN系）か INDIVIDUAL_NUMBER（マイナンバー利用事務系）",
)
@click.option(
    "--certificate",
    required=True,
    type=_FILE,
    metavar="証明書ファイル",
    help="端末の証明書か、証明書を作る前の申請ファイル（CSR）。どちらも PEM",
)
@click.option("--place", default="", metavar="設置場所", help="例: 本庁舎1階 市民課")
@click.option(
    "--valid-until",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="有効期限",
    help="その日まで使える（例: 2027-03-31）",
)
def terminal(
    *,
    owner: str,
    terminal_id: str,
    name_ja: str,
    terminal_class: str,
    certificate: Path,
    place: str,
    valid_until: datetime | None,
) -> None:
    """管理者ページを開ける端末を、端末の証明書で登録します。"""
    start()
    from bcl.accounts import api
    from bcl_contract import clock

    if owner != api.AGENCY_CODE:
        _known(owner)
    made = api.register_terminal(
        owner_code=owner,
        terminal_id=_id(terminal_id),
        name_ja=name_ja,
        terminal_class=api.TerminalClass(terminal_class),
        cert_pem=certificate.read_bytes(),
        place_ja=place[:64],
        valid_until_on=None if valid_until is None else valid_until.date(),
        by=operator(),
        at=clock.now(),
    )
    click.echo(f"端末 {or_refuse(made).id} を登録しました。")


@register.command()
@click.option("--owner", required=True, metavar="団体コード", help="団体コード（機構は 000000）")
@click.option("--id", "login_name", required=True, metavar="職員番号", help="例: admin-1")
@click.option("--name", "name_ja", required=True, metavar="氏名", help="管理者の氏名")
def administrator(owner: str, login_name: str, name_ja: str) -> None:
    """管理者ページの最初の管理者を作り、本人に渡す登録コードを一度だけ表示します。"""
    start()
    from bcl.accounts import api
    from bcl_contract import clock

    if owner != api.AGENCY_CODE:
        _known(owner)
    made = or_refuse(
        api.found_administrator(owner, _id(login_name), name_ja, by=operator(), at=clock.now())
    )
    click.echo(f"登録コード: {made.enrolment_code}")
    click.echo("本人だけに渡してください。一度だけ使えて、72時間で切れます。")


@register.command("list")
def show() -> None:
    """登録されている団体と、その連携装置・受領者を一覧にします。"""
    start()
    from bcl.municipalities import api

    codes = api.list_municipality_codes()
    if not codes:
        click.echo("団体が登録されていません。")
    for code in codes:
        click.echo(f"{code} {api.get_municipality(code).name_ja}")
        for one in api.list_gateways(code):
            click.echo(f"    連携装置 {one.id}")
        for receiver_ in api.list_recovery_receivers(code):
            click.echo(f"    受領者   {receiver_.id}")


# -- inside -------------------------------------------------------------------------------------


def operator() -> Actor:
    from bcl.foundation.audit import Actor

    account = re.sub(r"[^A-Za-z0-9._-]", "-", getpass.getuser())
    return Actor("system", f"operator:{account}")


def _revoke_terminal(terminal_id: str, owner_code: str) -> bool:
    from bcl.accounts import api
    from bcl_contract import clock

    refusal = api.revoke_terminal(
        terminal_id, owner_code=owner_code, by=operator(), at=clock.now()
    )
    return refusal is None


def _known(municipality_code: str) -> None:
    from bcl.municipalities import api
    from bcl_contract.refusals import Refusal

    if api.find_municipality(municipality_code) is None:
        raise Refused(Refusal("REGISTRATION_MUNICIPALITY_UNKNOWN"))


def _id(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", text):
        raise click.UsageError("番号は英数字と . _ - で、32文字までです。")
    return text


def _certificate(path: Path) -> bytes:
    from cryptography import x509

    from bcl_contract.refusals import Refusal

    content = path.read_bytes()
    try:
        x509.load_pem_x509_certificate(content)
    except ValueError:
        raise Refused(Refusal("REGISTRATION_CERTIFICATE_INVALID")) from None
    return content


def _public_key(path: Path) -> Ed25519PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    from bcl_contract.refusals import Refusal

    try:
        key = load_pem_public_key(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise Refused(Refusal("REGISTRATION_KEY_INVALID"))
    return key
