"""Staff pages of a town whose keys are lost or destroyed: told in words, never a fault."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.conf import settings

from bcl.accounts import api as accounts
from bcl.foundation import clock, keys, tenancy
from bcl.foundation.models import TownKey

TOWN, OTHER = "999997", "999989"
pytestmark = pytest.mark.requirement("R-027")


def take_the_town_key_away() -> Callable[[], None]:
    """As when a device is lost; gives what brings it back."""
    with tenancy.scope(TOWN):
        kek_id = TownKey.objects.get(destroyed_at=None).provider_key_id
    (file,) = settings.BCL.key_file.parent.rglob(f"{kek_id}*")
    away = file.rename(file.with_suffix(".away"))
    return lambda: away.rename(file)


def destroy_the_keys() -> Callable[[], None]:
    """The town has left and its data was erased."""
    with tenancy.scope(TOWN):
        keys.destroy_town_keys(TOWN, at=clock.now())
    return lambda: None


@pytest.mark.parametrize(
    ("harm", "code", "status"),
    [
        (take_the_town_key_away, "KEY_LOST", 503),
        (destroy_the_keys, "KEY_ERASED", 410),
    ],
)
def test_pages__without_the_towns_key__say_so_with_a_code_and_leave_other_towns_alone(
    office, console, harm, code, status
) -> None:
    clerk = office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    other = office.add(OTHER, "clerk-1", accounts.Role.TOWN_CLERK)
    with (
        office.signed_in(clerk) as client,
        office.signed_in(other) as neighbour,
        office.browser(TOWN) as newcomer,
    ):
        mend = harm()
        try:
            console.start_afresh()
            answers = [client.get(path) for path in ("/", "/residents", "/own")]
            fields = {"login_name": "clerk-1", "password": clerk.password}
            answers.append(office.post(newcomer, "/sign-in", **fields))
            for answer in answers:
                assert answer.status_code == status, answer.text
                assert f"コード: {code}" in answer.text and "運用者（機構）" in answer.text
                assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            assert neighbour.get("/").status_code == 200
        finally:
            mend()
        if code != "KEY_ERASED":
            console.start_afresh()
            assert client.get("/").status_code == 200, "nothing was lost"
