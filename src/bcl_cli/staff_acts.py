"""What commands of staff share: starting the cloud's code, signing the act, answering a refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bcl_cli.serve import start_django

if TYPE_CHECKING:
    from datetime import datetime

    from bcl_contract.refusals import Refusal
    from bcl_contract.signed_acts import SignedAct

REFUSED = 3


class Refused(click.ClickException):
    """An expected no, with its code (exit 3)."""

    exit_code = REFUSED

    def __init__(self, refusal: Refusal) -> None:
        text = refusal.text
        super().__init__(
            f"{refusal.code}: {text.text_ja}\n  対応する人: {text.who_can_fix_ja}\n"
            f"  対応: {text.how_ja}"
        )

    def show(self, file: object = None) -> None:
        click.echo(self.message, err=True)


def or_refuse(result: Any) -> Any:
    """Give the result of an act back, or end the command with its refusal."""
    from bcl_contract.refusals import Refusal

    if isinstance(result, Refusal):
        raise Refused(result)
    return result


def municipality_option(*, required: bool = True) -> Callable[..., Any]:
    """`--municipality 999997`."""
    return click.option(
        "--municipality",
        "municipality_code",
        required=required,
        metavar="団体コード",
        help="団体コード（6桁）",
    )


def staff_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--as STAFF --key FILE`: who acts, and the key that proves it (D31)."""
    command = click.option(
        "--key",
        "key_file",
        required=True,
        metavar="鍵ファイル",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="職員の署名鍵（PEM、Ed25519）",
    )(command)
    return click.option(
        "--as", "staff_id", required=True, metavar="職員番号", help="操作する職員の番号"
    )(command)


def sign(
    act: str,
    *,
    municipality_code: str,
    staff_id: str,
    key_file: Path,
    content: Mapping[str, str | int],
) -> SignedAct:
    """Sign one act with the staff member's key file."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from bcl_contract import clock
    from bcl_contract.signed_acts import sign_act

    try:
        key = load_pem_private_key(key_file.read_bytes(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise click.UsageError("鍵ファイルが Ed25519 の署名鍵（PEM）ではありません。")
    return sign_act(
        act=act,
        municipality_code=municipality_code,
        staff_id=staff_id,
        at=clock.now(),
        content=content,
        private_key=key,
    )


def japan_time(at: datetime) -> str:
    """A moment as people in Japan read it, to the minute."""
    from bcl_contract import clock

    return at.astimezone(clock.JST).strftime("%Y-%m-%d %H:%M")


def start() -> None:
    """Load the cloud's code for a command."""
    start_django("command")
