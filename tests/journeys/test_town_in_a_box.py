"""Journey: recovery, on the worst day: one laptop, the package, a key, a browser, no network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bcl_cli.world.line import Line
from bcl_cli.world.registry import receiver_key_path

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture
def link(landed: Line) -> Iterator[str]:
    """The reader started on the package as the receiver starts it; gives the printed link."""
    paths = landed.make_package()
    package = next(path for path in paths if path.suffix == ".age")
    reader = next(path for path in paths if path.name == "reader.py")
    key = receiver_key_path(landed.world.places, landed.code)
    command = [sys.executable, "-I", "-S", str(reader), str(package), "--key", str(key), "--page"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    try:
        for line in started.stdout:
            found = re.search(r"http://127\.0\.0\.1:\d+/open/\S+", line)
            if found:
                yield found.group()
                break
        else:
            raise AssertionError("the reader printed no link")
    finally:
        started.terminate()
        started.wait(20)
        started.stdout.close()


@pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.requirement("R-032")
@pytest.mark.requirement("R-265")
def test_town_in_a_box__search_and_print_a_household__by_keyboard(
    landed: Line, link: str, tmp_path: Path
) -> None:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    living = [
        row for row in landed.town.truth()["J01"]
        if (row["latest"], row["resident_state"], row["deleted"]) == ("1", "1", "0")
    ]  # fmt: skip
    wanted = next(row for row in living if len(row["full_name"]) > 4)
    members = [r for r in living if r["household_number"] == wanted["household_number"]]
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(link)
        assert f"住民 {len(living):,}人" in page.locator("body").inner_text()
        page.get_by_label("氏名かフリガナ").focus()
        page.keyboard.type(wanted["full_name"])
        page.keyboard.press("Enter")
        page.wait_for_selector("table")
        assert _serious(Axe().run(page)) == []
        page.get_by_role("button", name=f"{wanted['full_name']}の世帯を見る").first.click()
        page.wait_for_selector(".copy")
        assert _serious(Axe().run(page)) == []
        shown = page.locator("main").inner_text()
        printed = tmp_path / "household.pdf"
        printed.write_bytes(page.pdf(format="A4"))
        _pictures(page, wanted["full_name"], tmp_path)
        held_back = _print_protected(landed, page, tmp_path / "protected.pdf")
        browser.close()
    assert all(row["full_name"] in shown for row in members)
    assert complaints == []
    text = subprocess.run(
        ["pdftotext", str(printed), "-"], capture_output=True, text=True, check=True
    ).stdout
    assert "証明書ではありません" in text and "さがす画面へ戻る" not in text
    assert "支援措置のため印刷しません" in held_back[1]
    assert "".join(held_back[0]["full_name"].split()) in held_back[1]
    assert held_back[0]["address_lot_as_written"] not in held_back[1]


def _pictures(page, name: str, folder: Path) -> None:
    """The pictures of docs/guide/recovery.md (`BCL_GUIDE_PICTURES=docs/guide/images`)."""
    chosen = Path(os.environ.get("BCL_GUIDE_PICTURES", folder))
    page.set_viewport_size({"width": 900, "height": 620})
    page.screenshot(path=chosen / "town-in-a-box-household.png")
    page.get_by_role("link", name="さがす画面へ戻る").click()
    page.get_by_label("氏名かフリガナ").fill(name)
    page.keyboard.press("Enter")
    page.wait_for_selector("table.found")
    page.screenshot(path=chosen / "town-in-a-box.png", full_page=True)
    page.set_viewport_size({"width": 390, "height": 800})


def _print_protected(landed: Line, page, path: Path) -> tuple[dict[str, str], str]:
    """A household under a protective measure: its row, and the text of what the printer gives."""
    tables = landed.town.truth()
    protected = {
        row["addressee_number"] for row in tables["J04"]
        if (row["latest"], row["deleted"]) == ("1", "0")
        and row["measure_target_kind"] in ("1", "2") and not row["measure_ended_on"]
    }  # fmt: skip
    row = next(
        row for row in tables["J01"]
        if row["addressee_number"] in protected and row["latest"] == "1"
        and row["resident_state"] == "1" and len(row["address_lot_as_written"]) > 3
    )  # fmt: skip
    page.goto("/".join(page.url.split("/")[:3]))
    page.get_by_label("宛名番号").fill(row["addressee_number"])
    page.keyboard.press("Enter")
    page.wait_for_selector("table.found")
    assert row["address_lot_as_written"] not in page.locator("table.found").inner_text()
    page.get_by_role("button", name=f"{row['full_name']}の世帯を見る").click()
    page.wait_for_selector(".warn")
    assert row["address_lot_as_written"] in page.locator("main").inner_text()
    page.pdf(path=str(path), format="A4")
    text = subprocess.run(
        ["pdftotext", str(path), "-"], capture_output=True, text=True, check=True
    ).stdout
    return row, "".join(text.split())  # the printer breaks lines where it likes


def _serious(result) -> list[str]:
    return [
        one["id"] for one in result.response["violations"]
        if one["impact"] in ("serious", "critical")
    ]  # fmt: skip
