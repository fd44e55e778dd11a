"""The user guide of the staff pages: everything it shows is clicked through and pictured here.

`BCL_GUIDE_PICTURES=docs/guide/images` writes the pictures there; otherwise they go to a temporary
folder. The names must be exactly those the guide refers to, so that no picture outlives its page.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from staff_visit import Visit, fresh_code, person

from bcl_cli.world.console_people import DemoPerson

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "console.md"
SHOWN = set(re.findall(r"\(images/([a-z-]+)\.png\)", GUIDE.read_text(encoding="utf-8")))
WIDTHS = (390, 820, 1280)
pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chosen = os.environ.get("BCL_GUIDE_PICTURES")
    folder = Path(chosen) if chosen else tmp_path_factory.mktemp("guide")
    folder.mkdir(exist_ok=True, parents=True)
    return folder


class Tour:
    """One person's way through the pages: each is judged at every width."""

    def __init__(self, visit: Visit, who: DemoPerson, folder: Path) -> None:
        self.visit, self.who, self.folder = visit, who, folder
        visit.sign_in(who)

    def stop(self, name: str, path: str | None = None, *, at: str = "") -> None:
        """Judge the page at every width; the guide's picture begins at the element `at`."""
        if path is not None:
            self.visit.open(path)
        for width in WIDTHS:
            self.visit.judge(width)
        if at:
            self.visit.page.locator(at).evaluate("element => element.scrollIntoView()")
        if name in SHOWN:
            self.visit.picture(self.folder, name)

    def end(self) -> None:
        assert self.visit.complaints == []
        self.visit.context.close()


@pytest.mark.requirement("R-171")
@pytest.mark.requirement("R-172")
@pytest.mark.requirement("R-175")
@pytest.mark.requirement("R-265")
def test_auditor__answers_who_saw_a_person__and_takes_the_log_out(
    chromium, landed, pictures
) -> None:
    world = landed.world
    row = next(
        one for one in landed.town.truth()["J01"]
        if (one["latest"], one["resident_state"], one["deleted"]) == ("1", "1", "0")
        and one["addressee_number"] not in protected_numbers(landed)
    )  # fmt: skip
    number = row["addressee_number"]
    clerk = Tour(Visit(chromium, world, "999997"), person(world, "clerk-1"), pictures)
    shown = look_up(clerk.visit.page, number)
    clerk.end()
    auditor = Tour(Visit(chromium, world, "999997"), person(world, "auditor-1"), pictures)
    page = auditor.visit.page
    auditor.stop("audit", "/audit", at="#found")
    page.locator("tbody a").first.click()
    auditor.stop("audit-row")
    auditor.stop("statements", "/statements")
    auditor.stop("statement-new", "/statements/new")
    page.get_by_label("宛名番号").fill(number)
    page.get_by_label("受付番号").fill("R8-101")
    page.get_by_role("button", name="申請する").click()
    page.wait_for_selector("#lines")
    # Complete: every time the browser showed this person stands in the statement.
    assert page.locator('tr[data-kind="SHOWN"]').count() == shown > 0
    auditor.stop("statement", at="#lines")
    with page.expect_download() as loaded:
        page.get_by_role("button", name="渡すための PDF を作る").click()
    assert loaded.value.suggested_filename.endswith(".pdf")
    auditor.visit.open("/audit/verification")
    page.get_by_role("button", name="いま検証する").click()
    page.wait_for_selector("text=書換え・削除・挿入はありません", timeout=60_000)
    auditor.stop("audit-verification", at="#check")
    auditor.stop("exports", "/exports")
    auditor.stop("export-new", "/exports/new/audit")
    page.get_by_label("持ち出しの目的").select_option("AUDIT")
    page.get_by_label("受付番号・文書番号").fill("R8-102")
    for title in ("日時", "操作の名前", "操作者", "目的"):
        page.get_by_label(title, exact=True).check()
    page.get_by_role("button", name="申請する").click()
    page.wait_for_selector("text=申請しました")
    auditor.stop("export-waiting")
    number = re.search(r"/exports/(\d+)", page.url).group(1)
    approver = Tour(Visit(chromium, world, "999997"), person(world, "approver-1"), pictures)
    second = approver.visit.page
    approver.stop("export-approve", f"/exports/{number}", at="#export")
    second.get_by_label("確認コード").fill(fresh_code(approver.who))
    second.get_by_role("button", name="この持ち出しを承認する").click()
    second.wait_for_selector("span.state:has-text('受取り可')", timeout=60_000)
    approver.end()
    page.reload()
    auditor.stop("export-ready", at="#export")
    auditor.end()


def protected_numbers(landed) -> set[str]:
    """Persons under a measure and everybody who lives with them."""
    truth = landed.town.truth()
    measured = {one["addressee_number"] for one in truth["J04"]}
    homes = {
        one["household_number"] for one in truth["J01"] if one["addressee_number"] in measured
    }
    return measured | {
        one["addressee_number"] for one in truth["J01"] if one["household_number"] in homes
    }


def look_up(page, number: str) -> int:
    """Find the person, open record and household; gives how often a page showed the person."""
    shown = 0
    for _ in range(2):
        page.goto("/residents")
        page.get_by_label("参照する目的").select_option("RESIDENT_INQUIRY")
        page.get_by_label("宛名番号").fill(number)
        page.get_by_role("button", name="探す").click()
        page.wait_for_selector("#found")
        shown += page.locator("tbody tr").filter(has_text=number).count()
    page.get_by_role("button", name="開く").first.click()
    page.wait_for_selector("h1:has-text('住民の記録')")
    shown += number in page.locator("h1").inner_text()
    page.get_by_role("button", name="世帯の全員を見る").click()
    page.wait_for_selector("h1:has-text('世帯')")
    shown += page.locator("tbody tr").filter(has_text=number).count()
    return shown


@pytest.mark.requirement("R-056")
@pytest.mark.requirement("R-058")
@pytest.mark.requirement("R-265")
def test_clerk__looks_at_transmissions_a_resident_and_asks_for_recovery(
    chromium, landed, pictures
) -> None:
    world = landed.world
    clerk = Tour(Visit(chromium, world, "999997"), person(world, "clerk-1"), pictures)
    page = clerk.visit.page
    clerk.stop("home", "/")
    clerk.stop("linkage", "/linkage")
    page.locator("tbody a").first.click()
    clerk.stop("transmission")
    clerk.stop("holds", "/linkage/holds")
    clerk.stop("interface", "/interface")
    clerk.stop("residents", "/residents")
    page.get_by_label("参照する目的").select_option("DATA_CHECK")
    page.get_by_label("氏名").fill("藤")
    page.get_by_role("button", name="探す").click()
    page.wait_for_selector("#found")
    assert "藤" not in page.url
    clerk.stop("residents-found")
    page.get_by_role("button", name="開く").first.click()
    page.wait_for_selector("h1:has-text('住民の記録')")
    clerk.stop("resident")
    page.get_by_role("button", name="世帯の全員を見る").click()
    page.wait_for_selector("h1:has-text('世帯')")
    clerk.stop("household")
    clerk.stop("recovery", "/recovery")
    clerk.stop("recovery-request", "/recovery/new")
    page.get_by_label("理由").fill("訓練のため")
    page.get_by_label("事案番号").fill("DRILL-1")
    page.get_by_label("確認コード").fill(clerk.who.code(ahead=1))
    page.get_by_role("button", name="申請する").click()
    page.wait_for_selector("text=申請しました")
    clerk.stop("recovery-waiting")
    number = re.search(r"/recovery/(\d+)", page.url).group(1)
    approver = Tour(Visit(chromium, world, "999997"), person(world, "approver-1"), pictures)
    second = approver.visit.page
    approver.stop("recovery-approve", f"/recovery/{number}")
    second.get_by_label("確認コード").fill(approver.who.code(ahead=1))
    second.get_by_role("button", name="この申請を承認する").click()
    # The page turns by itself when the package is ready.
    second.wait_for_selector("span.state:has-text('作成済み')", timeout=60_000)
    approver.end()
    page.reload()
    page.wait_for_selector("text=暗号化したデータを受け取る")
    clerk.stop("recovery-ready")
    clerk.end()


@pytest.mark.requirement("R-060")
@pytest.mark.requirement("R-168")
@pytest.mark.requirement("R-177")
def test_administrator_and_auditor__see_people_terminals_and_reports(
    chromium, landed, pictures
) -> None:
    world = landed.world
    admin = Tour(Visit(chromium, world, "999997"), person(world, "admin-1"), pictures)
    admin.stop("accounts", "/accounts")
    admin.stop("account-new", "/accounts/new")
    admin.stop("account", "/accounts/of/clerk-1")
    admin.stop("terminals", "/terminals")
    admin.end()
    auditor = Tour(Visit(chromium, world, "999997"), person(world, "auditor-1"), pictures)
    auditor.stop("security", "/security")
    auditor.stop("retention", "/retention")
    auditor.end()


def test_guide__shows_exactly_the_pictures_that_are_taken_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    taken = set(re.findall(r"\.stop\(\"([a-z-]+)\"", source))
    assert SHOWN <= taken
    # Other guides have pictures of their own; none lies there that no guide shows.
    shown = {
        name
        for guide in GUIDE.parent.glob("*.md")
        for name in re.findall(r"\(images/([a-z-]+)\.png\)", guide.read_text(encoding="utf-8"))
    }
    assert {path.stem for path in (GUIDE.parent / "images").glob("*.png")} == shown
