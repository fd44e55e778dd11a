"""The staff pages in a real browser: sign-in by keyboard, every page at three widths, axe."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bcl_cli.world.console_people import DemoPerson, read_people
from bcl_cli.world.world import World

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDTHS = (390, 820, 1280)

pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


class Visit:
    """One terminal's browser, with everything it complained about and asked for."""

    def __init__(self, chromium, world: World, code: str) -> None:
        terminal = world.pki.terminal(code)
        self.context = chromium.new_context(
            base_url=world.console_url,
            ignore_https_errors=True,
            client_certificates=[
                {
                    "origin": world.console_url,
                    "certPath": str(terminal.cert_path),
                    "keyPath": str(terminal.key_path),
                }
            ],
        )
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.asked: set[str] = set()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.add(request.url))

    def sign_in(self, person: DemoPerson) -> None:
        """By keyboard only, as somebody without a mouse would."""
        page = self.page
        page.goto("/")
        page.get_by_label("職員番号").focus()
        page.keyboard.type(person.login_name)
        page.keyboard.press("Tab")
        page.keyboard.type(person.password)
        page.keyboard.press("Enter")
        page.get_by_label("確認コード").focus()
        page.keyboard.type(person.code())
        page.keyboard.press("Enter")
        page.wait_for_selector("h1:has-text('ホーム')")

    def findings(self) -> list[str]:
        """What axe calls serious or critical on the page that is open."""
        from axe_playwright_python.sync_playwright import Axe

        violations = Axe().run(self.page).response["violations"]
        return [
            f"{one['id']}: {one['nodes'][0]['html'][:120]}"
            for one in violations
            if one["impact"] in ("serious", "critical")
        ]

    def look_at(self, path: str, width: int) -> None:
        """The page fits, has one heading and a title, and axe finds nothing."""
        page = self.page
        page.set_viewport_size({"width": width, "height": 900})
        answer = page.goto(path)
        assert answer.status == 200, (path, answer.status)
        assert page.locator("h1").count() == 1
        assert page.title().endswith("| BCL 管理者ページ")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
        assert self.findings() == [], (path, width)


def person(world: World, login_name: str) -> DemoPerson:
    (found,) = [
        one for one in read_people(world.places)
        if (one.municipality_code, one.login_name) == ("999997", login_name)
    ]  # fmt: skip
    return found


@pytest.mark.requirement("R-265")
@pytest.mark.requirement("R-058")
def test_pages__every_one_at_three_widths__fits_and_has_no_axe_findings(chromium, world) -> None:
    visit = Visit(chromium, world, "999997")
    for width in WIDTHS:
        for path in ("/sign-in", "/enrol"):
            visit.look_at(path, width)
    visit.sign_in(person(world, "admin-1"))
    paths = (
        "/",
        "/components",
        "/accounts",
        "/accounts/new",
        "/accounts/of/clerk-1",
        "/terminals",
        "/linkage",
    )
    for width in WIDTHS:
        for path in paths:
            visit.look_at(path, width)
    assert visit.complaints == []
    assert all(url.startswith((world.console_url, "data:")) for url in visit.asked)
    visit.context.close()


@pytest.mark.requirement("R-060")
@pytest.mark.requirement("R-061")
def test_a_new_colleague__invited_enrolled_and_stopped__in_the_browser(chromium, world) -> None:
    admin = Visit(chromium, world, "999997")
    # A code is good once: another test may just have used this half minute's.
    time.sleep(30 - time.time() % 30 + 1)
    admin.sign_in(person(world, "admin-1"))
    page = admin.page
    page.goto("/accounts/new")
    page.get_by_label("職員番号").fill("new-clerk")
    page.get_by_label("氏名").fill("新人　七海")
    page.get_by_label("担当者").check()
    page.get_by_role("button", name="追加して登録コードを作る").click()
    code = page.locator("#enrolment-code").inner_text()

    theirs = Visit(chromium, world, "999997")
    new = theirs.page
    new.goto("/enrol")
    new.get_by_label("職員番号").fill("new-clerk")
    new.get_by_label("登録コード").fill(code)
    new.keyboard.press("Enter")
    new.get_by_label("新しいパスワード", exact=False).first.fill("波の音が聞こえる町役場で働く")
    new.get_by_label("新しいパスワード（もう一度）").fill("波の音が聞こえる町役場で働く")
    new.keyboard.press("Enter")
    new.wait_for_selector("img.qr")
    assert theirs.findings() == []
    new.get_by_text("図を読み取れないとき").click()
    secret = re.sub(r"\s", "", new.locator("details .mono").inner_text())
    made = DemoPerson("999997", "new-clerk", "", "", secret)
    new.get_by_label("確認コード").fill(made.code())
    new.keyboard.press("Enter")
    new.wait_for_selector("h1:has-text('ホーム')")
    assert "ユーザ管理" not in new.locator("nav").inner_text()

    page.goto("/accounts/of/new-clerk")
    page.get_by_role("button", name="停止する").click()
    page.wait_for_selector("text=アカウントを停止しました")
    new.goto("/")
    new.wait_for_selector("text=このアカウントは止められています")
    assert admin.complaints == theirs.complaints == []
