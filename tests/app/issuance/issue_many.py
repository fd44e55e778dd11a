"""A process that issues many certificates over several threads (started by a test).

Arguments: cards file, folder for the PDFs, how many, seed, folder of the simulated JPKI.
Writes one JSON line a certificate. Every thread issues for random residents, so requests of one
household, of twins and of strangers run at the same moment in two processes.
"""

from __future__ import annotations

import importlib.util
import json
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

THREADS = 4


def main() -> None:
    cards_file, out, count, seed, jpki_folder = sys.argv[1:]
    import django

    django.setup()
    spec = importlib.util.spec_from_file_location(
        "issuance_conftest", Path(__file__).parent / "conftest.py"
    )
    helpers = importlib.util.module_from_spec(spec)
    sys.modules["issuance_conftest"] = helpers
    spec.loader.exec_module(helpers)
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from django.conf import settings

    from bcl.issuance.adapters import jpki
    from bcl_sim.jpki.authority import Authority
    from bcl_sim.jpki.ocsp_responder import OcspResponder

    authority = Authority(jpki_folder)
    settings.BCL = replace(
        settings.BCL,
        issuance=replace(
            settings.BCL.issuance,
            jpki_roots_file=authority.trust_roots_path,
            jpki_ocsp_url="http://127.0.0.1:9/ocsp",
        ),
    )
    jpki.HttpOcsp = lambda url: OcspResponder(authority).answer
    raw = json.loads(Path(cards_file).read_text())
    cards = {
        number: helpers.Card(
            load_pem_private_key(card["key"].encode(), None),
            bytes.fromhex(card["cert"]),
            card["serial"],
        )
        for number, card in raw.items()
    }
    world = helpers.World("999997", None, authority, cards)
    folder = Path(out)
    folder.mkdir()
    dice = random.Random(int(seed))
    numbers = sorted(cards)
    wishes = [(dice.choice(numbers), dice.choice(("ALL", "SELF"))) for _ in range(int(count))]
    with ThreadPoolExecutor(THREADS) as pool:
        for line in pool.map(lambda wish: issue_one(helpers, world, folder, *wish), wishes):
            sys.stdout.write(json.dumps(line) + "\n")


def issue_one(helpers, world, folder: Path, addressee: str, scope: str) -> dict:
    from bcl.issuance import api
    from bcl_contract.clock import Clock, use
    from bcl_contract.delivery_center import Scope, new_number

    # The clock stands still: nothing may be told apart by its time.
    with use(Clock(fixed=helpers.NOW)):
        number = new_number(helpers.NOW)
        issued = world.issue(
            world.cards[addressee], number=number, scope=Scope(scope), show=("domicile",)
        )
        if not isinstance(issued, api.Issued):
            raise SystemExit(f"refused: {issued.code} {world.inner_code(number)}")
    path = folder / f"{number}.pdf"
    path.write_bytes(issued.pdf)
    return {
        "number": number,
        "addressee": addressee,
        "scope": scope,
        "pdf": str(path),
        "issue_number": issued.issue_number,
        "pages": issued.pages,
    }


if __name__ == "__main__":
    main()
