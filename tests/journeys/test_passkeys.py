"""Passkeys in a real browser with a virtual authenticator: made, used, copied."""

from __future__ import annotations

from typing import Any

import pytest
from staff_visit import Visit, fresh_code, person

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.requirement("R-058"),
]
WIDTHS = (390, 820, 1280)


class Key:
    """A security key with a fingerprint reader, plugged into one terminal's browser."""

    def __init__(self, visit: Visit) -> None:
        self._line = visit.context.new_cdp_session(visit.page)
        self._line.send("WebAuthn.enable")
        made = self._line.send(
            "WebAuthn.addVirtualAuthenticator",
            {
                "options": {
                    "protocol": "ctap2",
                    "transport": "usb",
                    "hasUserVerification": True,
                    "isUserVerified": True,
                    "automaticPresenceSimulation": True,
                }
            },
        )
        self._id = {"authenticatorId": made["authenticatorId"]}

    def is_its_owner(self, yes: bool) -> None:
        """Whether the finger on the reader is the right one."""
        self._line.send("WebAuthn.setUserVerified", {**self._id, "isUserVerified": yes})

    def inside(self) -> list[dict[str, Any]]:
        """What lies in the key."""
        return self._line.send("WebAuthn.getCredentials", self._id)["credentials"]

    def put_back(self, credential: dict[str, Any]) -> None:
        """Put an older copy of its one credential into the key."""
        here = {**self._id, "credentialId": credential["credentialId"]}
        self._line.send("WebAuthn.removeCredential", here)
        self._line.send("WebAuthn.addCredential", {**self._id, "credential": credential})


def begin(visit: Visit, somebody) -> None:
    """Sign out, then the password only."""
    page = visit.page
    if page.get_by_role("button", name="サインアウト").count():
        page.get_by_role("button", name="サインアウト").click()
    page.goto("/sign-in")
    page.get_by_label("職員番号").fill(somebody.login_name)
    page.get_by_label("パスワード").fill(somebody.password)
    page.keyboard.press("Enter")


def make_a_passkey(visit: Visit, somebody, label: str) -> None:
    page = visit.page
    page.goto("/own")
    page.get_by_label("確認コード").fill(fresh_code(somebody))
    page.get_by_role("button", name="登録に進む").click()
    page.get_by_label("呼び名").fill(label)
    for width in WIDTHS:
        visit.judge(width)
    page.get_by_role("button", name="パスキーを作る").click()
    page.wait_for_selector("text=パスキーを登録しました")


def test_passkey__made_used_and_copied__in_the_browser(chromium, world) -> None:
    somebody = person(world, "approver-1")
    visit = Visit(chromium, world, "999997")
    key, page = Key(visit), visit.page
    visit.sign_in(somebody)
    make_a_passkey(visit, somebody, "青い鍵")
    for width in WIDTHS:
        visit.look_at("/own", width)
    page.get_by_role("link", name="青い鍵を消す").click()
    for width in WIDTHS:
        visit.judge(width)
    (old_copy,) = key.inside()

    begin(visit, somebody)
    page.wait_for_selector("h1:has-text('パスキーの確認')")
    for width in WIDTHS:
        visit.judge(width)
    page.get_by_role("button", name="パスキーで確かめる").click()
    page.wait_for_selector("h1:has-text('ホーム')")

    begin(visit, somebody)
    key.is_its_owner(False)
    page.get_by_role("button", name="パスキーで確かめる").click()
    page.wait_for_selector("text=パスキーを確かめられませんでした")
    assert page.locator("h1").inner_text() == "パスキーの確認", "without its owner a key is nothing"
    key.is_its_owner(True)
    page.get_by_role("button", name="パスキーで確かめる").click()
    page.wait_for_selector("h1:has-text('ホーム')")

    key.put_back(old_copy)
    begin(visit, somebody)
    page.get_by_role("button", name="パスキーで確かめる").click()
    page.wait_for_selector("text=PASSKEY_CLONED")
    page.get_by_label("確認コード").fill(fresh_code(somebody))
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('ホーム')")

    page.goto("/own")
    assert page.get_by_text("パスキーはまだ登録されていません").count() == 1
    expected = ("status of 401", "Clear-Site-Data header")
    assert [said for said in visit.complaints if not any(one in said for one in expected)] == []
    visit.context.close()
