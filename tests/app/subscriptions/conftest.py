"""A town whose register is sent, a system that subscribes, and two members of staff who agree.

`store_world` (the register of the store's tests) is importable.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bcl.foundation import clock
from bcl_contract.signed_acts import sign_act
from bcl_contract.subscription_profile import SubscriptionProfile, profile_of

sys.path.insert(0, str(Path(__file__).parents[1] / "resident_store"))

SYSTEM = "school-system"
STAFF = ("staff-a", "staff-b")
NAMES = ["addressee_number", "full_name", "address_town"]


def profile_with(**changes: Any) -> SubscriptionProfile:
    """A profile of three columns of J01; fields as in the file."""
    made = profile_of(
        {
            "name": "school-roll", "title": "学齢簿システム", "purpose": "学齢簿の編製",
            "legal_basis": "学校教育法施行令第1条", "subscriber": SYSTEM, "towns": ["999997"],
            "columns": {"J01": NAMES},
        }
        | changes
    )
    assert isinstance(made, SubscriptionProfile), made
    return made


@dataclass
class Agreement:
    """The staff of a town, and the acts they sign."""

    town: str
    keys: dict[str, Ed25519PrivateKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from bcl.municipalities import api as municipalities

        for staff_id in STAFF:
            self.keys[staff_id] = Ed25519PrivateKey.generate()
            municipalities.register_staff(
                self.town, staff_id, self.keys[staff_id].public_key()
            )

    def sign(self, act: str, content: dict, staff_id: str) -> Any:
        return sign_act(
            act=act, municipality_code=self.town, staff_id=staff_id, at=clock.now(),
            content=content, private_key=self.keys[staff_id],
        )

    def ask(self, profile: SubscriptionProfile, staff_id: str = "staff-a") -> Any:
        from bcl.subscriptions import api

        signed = self.sign("request_subscription", api.request_content(profile), staff_id)
        return api.request_subscription(self.town, profile, signed=signed, at=clock.now())

    def approve(
        self, profile: SubscriptionProfile, staff_id: str = "staff-b", classes: str | None = None
    ) -> Any:
        from bcl.subscriptions import api

        named = profile.classes if classes is None else classes
        content = api.approval_content(profile.name, profile.sha256, named)
        signed = self.sign("approve_subscription", content, staff_id)
        return api.approve_subscription(
            self.town, profile.name, signed=signed, at=clock.now()
        )

    def change(self, act: str, name: str = "school-roll", staff_id: str = "staff-a") -> Any:
        from bcl.subscriptions import api

        signed = self.sign(f"{act}_subscription", api.change_content(name), staff_id)
        return getattr(api, f"{act}_subscription")(
            self.town, name, signed=signed, at=clock.now()
        )

    def agreed(self, **changes: Any) -> SubscriptionProfile:
        """A profile that both have agreed to, with its pages made."""
        from bcl.subscriptions import api

        profile = profile_with(**changes)
        for done in (self.ask(profile), self.approve(profile)):
            assert not hasattr(done, "code"), done
        api.prepare_deliveries(self.town)
        return profile


@dataclass
class Consumer:
    """A subscriber that keeps what it gets as its own copy: record -> columns."""

    town: str
    caller: Any
    name: str = "school-roll"
    epoch: int | None = None
    after: int = 0
    copy: dict[str, dict] = field(default_factory=dict)
    pages: list[Any] = field(default_factory=list)

    def ask(self, **changes: Any) -> Any:
        from bcl.subscriptions import api

        asked = {"epoch": self.epoch, "after": self.after, "columns": None} | changes
        return api.next_page(
            self.town, self.name, caller=self.caller, at=clock.now(), **asked
        )

    def follow(self) -> int:
        """Take pages until there is none; gives how many."""
        from bcl.subscriptions import api

        api.prepare_deliveries(self.town)
        taken = 0
        while True:
            page = self.ask()
            assert isinstance(page, api.Delivered), page
            self.epoch = page.epoch
            if not page.page:
                return taken
            for item in page.items:
                if item.columns is None:
                    self.copy.pop(item.record, None)
                else:
                    self.copy[item.record] = item.columns
            self.after, taken = page.page, taken + 1
            self.pages.append(page)

    def by_number(self) -> dict[str, dict]:
        return {row["addressee_number"]: row for row in self.copy.values()}


@pytest.fixture(autouse=True)
def _nobody_protected_in_memory():
    """Each test has its own loads: what another one's load said of protection doesn't hold."""
    from bcl.resident_store import protection

    yield
    protection._protected_after.cache_clear()
    protection.household_members.cache_clear()


@pytest.fixture
def make_profile():
    """Makes profiles: `make_profile(search=["person"])`."""
    return profile_with


@pytest.fixture
def agreement(town) -> Agreement:
    return Agreement(town)


@pytest.fixture
def caller(town):
    """The registered system (its certificate matters at the door only)."""
    from bcl.municipalities import api as municipalities
    from bcl.municipalities.models import Subscriber

    Subscriber.objects.create(
        subscriber_id=SYSTEM, name_ja="学齢簿システム", cert_fingerprint="0" * 64,
        registered_at=clock.now(),
    )
    found = municipalities.find_subscriber(SYSTEM)
    assert found is not None
    return found


@pytest.fixture
def consumer(town, caller) -> Consumer:
    return Consumer(town, caller)
