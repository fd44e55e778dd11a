"""The settings file of one town's gateway in a world."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bcl_contract import clock

if TYPE_CHECKING:
    from bcl_cli.world.world import World


def path(world: World, municipality_code: str) -> Path:
    """Where the file lies."""
    return world.places.town(municipality_code, "gateway") / "gateway.toml"


def drop_folder(world: World, municipality_code: str) -> Path:
    """Where the core system puts finished exports and the gateway collects them."""
    return world.places.town(municipality_code, "drop")


def write(world: World, municipality_code: str) -> None:
    """Write the file anew (Django is loaded: BCL's receipt key comes from the cloud)."""
    from bcl.linkage import api as linkage
    from bcl_gateway.config import public_key_fingerprint

    pki, code = world.pki, municipality_code
    receipt_key = linkage.get_receipt_public_key(code, at=clock.now())
    fingerprint = public_key_fingerprint(pki.wire_server.cert_path.read_bytes())
    folder = world.places.town(code, "gateway")
    lines = [
        'environment = "verification"',
        f'municipality_code = "{code}"',
        f'state_dir = "{folder}"',
        f'drop_dir = "{drop_folder(world, code)}"',
        f'work_dir = "{world.places.town(code, "gateway-work")}"',
        f'rejected_dir = "{world.places.town(code, "gateway-rejected")}"',
        f'signing_key_file = "{pki.gateway_signing(code).key_path}"',
        "",
        "[server]",
        f'url = "{world.wire_url}/wire"',
        f'ca_file = "{pki.bcl_ca.cert_path}"',
        f'certificate_file = "{pki.gateway(code).cert_path}"',
        f'key_file = "{pki.gateway(code).key_path}"',
        f'public_keys = ["{fingerprint}"]',
        f'receipt_key = "{receipt_key}"',
        "",
        "[tuning]",
        "settle_seconds = 0",
        "interval_seconds = 0.5",
        "backoff_longest_seconds = 5",
        "minimum_free_mib = 64",
        "",
    ]
    path(world, code).write_text("\n".join(lines), encoding="utf-8")
