"""The staff pages in a real browser: sign-in by keyboard, every page at three widths, axe."""

from __future__ import annotations

import re

import pytest
from staff_visit import WIDTHS, Visit, person

from bcl_cli.world.console_people import DemoPerson

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning")]


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
