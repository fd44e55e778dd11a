"""Certificates per CPU second: our renderer against a ReportLab canvas drawing the same pages.

Both draw the same placed page models (A4 住民票の写し of a household of four, IPAmj明朝, rules,
seal picture, subset font embedded) in a warm process, in turns, every document different. Ours
also makes it PDF/A-1b, keeps IVS readable and gives the same bytes twice; ReportLab does not.
`whole_paper_ms` is what one issue costs us: compose, fit, lint, render and independent read-back.
"""

from __future__ import annotations

import io
import json
import random
import resource
import statistics
import time
from collections.abc import Callable
from datetime import date

from bcl.issuance.documents.compose import compose
from bcl.issuance.documents.demo_seal import draw_demo_seal
from bcl.issuance.documents.fit import place
from bcl.issuance.documents.font import DEFAULT_FONT_PATH, is_selector, load_typeface
from bcl.issuance.documents.lints import Expected, lint
from bcl.issuance.documents.model import PlacedModel
from bcl.issuance.documents.read_back import compare
from bcl.issuance.documents.typst_renderer import render
from bcl.issuance.kinds import definition_of
from bcl.issuance.records import (
    Certifier,
    CopyOptions,
    Edition,
    HouseholdRecord,
    Marks,
    PersonRecord,
    Records,
    Scope,
)

_POINT = 72 / 25.4
_SURNAMES = (
    "佐藤 鈴木 高橋 田中 伊藤 渡辺 山本 中村 小林 加藤 吉田 "
    "山田 佐々木 山口 松本 井上 木村 林 斎藤 清水 葛󠄂城 辻󠄂"
).split()
_GIVEN = (
    "太一 花子 美咲 健太 翔 陽菜 蓮 結衣 大輔 恵 誠 直樹 裕子 明美 拓也 千尋 悠真 葵 凜 琥珀"
).split()
_TOWNS = ("本町 栄町 緑が丘 桜台 若葉台 旭町 大手町 港町 中央 泉 南 北山 川原 松ヶ枝").split()


def _person(dice: random.Random, number: int, surname: str, town: str) -> PersonRecord:
    born = date(1950, 1, 1).toordinal() + dice.randrange(25_000)
    name = f"{surname}　{dice.choice(_GIVEN)}"
    address = f"{dice.randrange(1, 9)}丁目{dice.randrange(1, 40)}番{dice.randrange(1, 20)}号"
    return PersonRecord(
        f"{number:015d}",
        {
            "resident_kind": "1",
            "resident_state": "1",
            "entry_order": str(number),
            "full_name": name,
            "full_name_kana": "コウノ　" + dice.choice(("タロウ", "ハナコ", "ミサキ", "ケンタ")),
            "full_name_kana_confirmation": "1",
            "sex_as_written": dice.choice("男女"),
            "born_on": date.fromordinal(born).isoformat(),
            "relationship_as_written": "世帯主" if number == 1 else dice.choice(("妻", "子", "父")),
            "head_of_household_name": f"{surname}　世帯主",
            "address_prefecture": "架空県",
            "address_municipality_name": "見本市",
            "address_town": town,
            "address_lot_as_written": address,
            "became_resident_on": "2001-04-01",
            "address_established_on": "2015-09-13",
            "address_established_notified_on": "2015-09-20",
            "address_before_moving_in_prefecture": dice.choice(("東京都", "大阪府", "北海道")),
            "address_before_moving_in_municipality_name": dice.choice(("港区", "堺市", "函館市")),
            "address_before_moving_in_lot_as_written": address,
            "registered_domicile": f"架空県見本市{dice.choice(_TOWNS)}{address}",
            "family_register_head": f"{surname}　{dice.choice(_GIVEN)}",
        },
        1,
    )


class _Papers:
    """Different households, ready to compose."""

    def __init__(self) -> None:
        self.definition = definition_of("resident_record_copy-household-1")
        self.typeface = load_typeface(DEFAULT_FONT_PATH)
        self.options = CopyOptions(
            Scope.HOUSEHOLD, frozenset({"relationship", "registered_domicile"})
        )
        self.certifier = Certifier("見本市長", "見本　太郎", draw_demo_seal("見本市長"), 20.0)

    def expected(self, seed: int) -> Expected:
        dice = random.Random(seed)
        surname, town = dice.choice(_SURNAMES), dice.choice(_TOWNS)
        members = tuple(_person(dice, number, surname, town) for number in range(1, 5))
        edition = Edition(f"{seed:026d}", date(2026, 11, 22))
        household = HouseholdRecord("999997", members, 1)
        first = members[0].addressee_number
        return Expected(
            Records(household),
            first,
            self.options,
            self.definition,
            Marks(),
            self.certifier,
            edition,
        )

    def place(self, expected: Expected) -> PlacedModel:
        model = compose(
            expected.records,
            expected.applicant,
            options=self.options,
            definition=self.definition,
            marks=expected.marks,
            certifier=self.certifier,
            edition=expected.edition,
        )
        placed = place(model, self.typeface)
        assert isinstance(placed, PlacedModel)
        return placed

    def whole(self, seed: int) -> None:
        expected = self.expected(seed)
        placed = self.place(expected)
        assert not lint(placed, expected, self.typeface)
        assert compare(render(placed, DEFAULT_FONT_PATH), placed, self.typeface) is None


def _reportlab() -> Callable[[PlacedModel], bytes]:
    from reportlab.lib.utils import ImageReader
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont
    from reportlab.pdfgen.canvas import Canvas

    pdfmetrics.registerFont(TTFont("IPAmj", str(DEFAULT_FONT_PATH)))
    pictures: dict[bytes, ImageReader] = {}

    def draw(placed: PlacedModel) -> bytes:
        out = io.BytesIO()
        height = placed.model.height_mm * _POINT
        canvas = Canvas(out, pagesize=(placed.model.width_mm * _POINT, height), invariant=1)
        for page in placed.pages:
            for image in page.images:
                picture = pictures.setdefault(image.png, ImageReader(io.BytesIO(image.png)))
                side, top = image.box.width * _POINT, image.box.bottom * _POINT
                canvas.drawImage(picture, image.box.x * _POINT, height - top, side, side)
            for line in page.lines:
                canvas.setLineWidth(line.weight_pt)
                canvas.line(
                    line.x1 * _POINT,
                    height - line.y1 * _POINT,
                    line.x2 * _POINT,
                    height - line.y2 * _POINT,
                )
            for text in page.lines_of_text:
                canvas.setFont("IPAmj", text.size_pt)
                value = "".join(c for c in text.value if not is_selector(c))
                y = height - text.y * _POINT - 0.88 * text.size_pt
                canvas.drawString(text.x * _POINT, y, value, charSpace=text.tracking * _POINT)
            canvas.showPage()
        canvas.save()
        return out.getvalue()

    return draw


def _cpu_ms(act: Callable[[], object]) -> float:
    begun = time.process_time()
    act()
    return (time.process_time() - begun) * 1000


def run(rows: int = 200, repeats: int = 3) -> dict[str, object]:
    """Measure `repeats` rounds of `rows` documents each; medians per document over all."""
    papers = _Papers()
    theirs_draw = _reportlab()
    models = [papers.place(papers.expected(seed)) for seed in range(rows)]
    # A ReportLab document takes long: a part of the documents is enough for its median.
    sample = models[: max(5, rows // 10)]
    render(models[0], DEFAULT_FONT_PATH)
    theirs_draw(models[0])
    papers.whole(10**6)
    ours: list[float] = []
    theirs: list[float] = []
    whole: list[float] = []
    begun = time.monotonic()
    for turn in range(repeats):
        ours += [_cpu_ms(lambda m=m: render(m, DEFAULT_FONT_PATH)) for m in models]
        theirs += [_cpu_ms(lambda m=m: theirs_draw(m)) for m in sample]
        seeds = range(turn * 10**7, turn * 10**7 + len(sample))
        whole += [_cpu_ms(lambda s=s: papers.whole(s)) for s in seeds]
    seconds = time.monotonic() - begun
    our_ms, their_ms = statistics.median(ours), statistics.median(theirs)
    return {
        "name": "certificate",
        "rows": rows,
        "seconds": round(our_ms * rows / 1000, 3),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "ratios": {"reportlab_cpu": round(their_ms / our_ms, 2)},
        "our_ms": round(our_ms, 2),
        "reportlab_ms": round(their_ms, 2),
        "whole_paper_ms": round(statistics.median(whole), 2),
        "wall_seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    print(json.dumps(run()))
