"""A report of the validator as lines for people; values of the register are never in it."""

from __future__ import annotations

from bcl_contract.linkage.transmission_check import Report
from bcl_contract.refusals import Refusal

SEVERITY_TEXTS = {
    "fatal": "重大",
    "row": "行の誤り",
    "household": "世帯の不整合",
    "warning": "注意",
}
SHOWN = 50


def refusal_lines(refusal: Refusal, *, first: str) -> list[str]:
    """Lines that say what was refused, who can put it right and how."""
    text = refusal.text
    return [
        f"{first}（{refusal.code}）",
        f"  {text.text_ja}",
        f"  直せる方: {text.who_can_fix_ja}",
        f"  直し方: {text.how_ja}",
        *(f"  {name}: {value}" for name, value in refusal.detail.items()),
    ]


def report_lines(report: Report, *, shown: int = SHOWN) -> list[str]:
    """Lines of a whole report: the first findings in their places, then the counts."""
    if report.refusal is not None:
        return refusal_lines(report.refusal, first="検査できませんでした")
    lines: list[str] = []
    told = 0
    for file in report.files:
        state = "" if file.readable else "（読めません）"
        lines.append(f"{file.file}: {file.rows:,}行{state}")
        for finding in file.findings[: max(0, shown - told)]:
            told += 1
            place = f"{finding.line}行目" if finding.line else "全体"
            column = f" {finding.column}" if finding.column else ""
            label = SEVERITY_TEXTS[finding.severity]
            lines.append(f"  {place}{column} [{label}] {finding.text.text_ja}（{finding.rule}）")
    total = sum(sum(file.counts.values()) for file in report.files)
    if total > told:
        lines.append(f"  ほか{total - told:,}件（--json で一覧を出力できます）")
    counts = "、".join(
        f"{label} {report.count(severity):,}件" for severity, label in SEVERITY_TEXTS.items()
    )
    lines.append(f"結果: {'問題ありません' if report.ok else '誤りがあります'}（{counts}）")
    return lines
