"""A terminal, an administrator and a clerk of the first town. `enrolled_people` is importable."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from enrolled_people import NOON, OPERATOR, Person, enrol, terminal_of

from bcl.accounts import api as accounts
from bcl.foundation import clock
from bcl_sim.pki import make_world_pki


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_world_pki(tmp_path_factory.mktemp("pki"), ["999997", "999989"], clock.now())


@pytest.fixture
def terminal(town, pki) -> accounts.Terminal:
    return terminal_of(pki, town)


@pytest.fixture
def admin(town, terminal) -> Person:
    invited = accounts.found_administrator(town, "admin-1", "見本　一郎", by=OPERATOR, at=NOON)
    return enrol(terminal, invited)


@pytest.fixture
def clerk(admin, terminal) -> Person:
    invited = accounts.create_account(
        admin.whole.principal,
        login_name="clerk-1",
        name_ja="見本　花子",
        roles=[accounts.Role.TOWN_CLERK],
        at=NOON,
    )
    return enrol(terminal, invited)
