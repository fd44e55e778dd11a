"""The world page in a real browser: it shows every party, alone, and by keyboard."""

from __future__ import annotations

from pathlib import Path

import pytest

from bcl_cli.world.line import Line

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("width", [390, 1280])
def test_world_page__in_a_browser__shows_every_party_without_the_outside(
    landed: Line, width: int
) -> None:
    from playwright.sync_api import sync_playwright

    complaints: list[str] = []
    asked: set[str] = set()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.add(request.url))
        page.goto(landed.world.page_url)
        page.wait_for_selector("#boxes .box")
        assert page.locator("#boxes .box").count() == 10
        assert page.locator("#parties tr").count() == 10
        assert page.locator("#parties").inner_text().count("応答なし") == 0
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "本文へ"
        # The picture may scroll by itself; the page as a whole never does sideways.
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        names = [r["full_name"] for r in landed.town.truth()["J01"] if len(r["full_name"]) > 4]
        text = page.locator("body").inner_text()
        browser.close()
    assert complaints == []
    assert all(url.startswith((landed.world.page_url, "data:")) for url in asked)
    assert not [name for name in names if name in text]
