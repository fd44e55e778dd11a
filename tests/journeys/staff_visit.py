"""The staff pages in a real browser: terminals, sign-in by keyboard, axe, pictures."""

from __future__ import annotations

import time
from pathlib import Path

from bcl_cli.world.console_people import DemoPerson, read_people
from bcl_cli.world.world import World

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDTHS = (390, 820, 1280)


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
        page.keyboard.type(fresh_code(person))
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
        """Go to a page and judge it at this width."""
        self.page.set_viewport_size({"width": width, "height": 900})
        self.open(path)
        self.judge(width)

    def open(self, path: str) -> None:
        """Go to a page by its address."""
        answer = self.page.goto(path)
        assert answer.status == 200, (path, answer.status)

    def judge(self, width: int) -> None:
        """The page that is open fits, has one heading and a title, and axe finds nothing."""
        page = self.page
        page.set_viewport_size({"width": width, "height": 900})
        assert page.locator("h1").count() == 1
        assert page.title().endswith("| BCL 管理者ページ")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (page.url, width)
        assert self.findings() == [], (page.url, width)

    def picture(self, folder: Path, name: str) -> None:
        """What the user guide shows of the page that is open."""
        self.page.set_viewport_size({"width": 1100, "height": 760})
        self.page.screenshot(path=str(folder / f"{name}.png"))


def person(world: World, login_name: str) -> DemoPerson:
    """Somebody of the first town who has enrolled."""
    (found,) = [
        one for one in read_people(world.places)
        if (one.municipality_code, one.login_name) == ("999997", login_name)
    ]  # fmt: skip
    return found


_used: dict[str, str] = {}


def fresh_code(person: DemoPerson) -> str:
    """A code this person has not given yet: each is good once, so another test's half minute is
    waited out."""
    while (code := person.code()) == _used.get(person.login_name):
        time.sleep(0.5)
    _used[person.login_name] = code
    return code
