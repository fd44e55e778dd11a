"""The words for what a check of the audit log finds, for command and page."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from bcl.foundation.audit_check import Finding, FindingKind

_FINDINGS = Path(__file__).with_name("audit_findings.csv")


@lru_cache(maxsize=1)
def _labels() -> Mapping[str, str]:
    with _FINDINGS.open(encoding="utf-8", newline="") as file:
        return {row["kind"]: row["label_ja"] for row in csv.DictReader(file)}


def label(kind: FindingKind) -> str:
    """What doesn't fit, in a sentence."""
    return _labels()[kind]


def where(finding: Finding) -> str:
    """Row, numbers and head, as far as they are known."""
    words = []
    if finding.entry_id is not None:
        words.append(f"記録 {finding.entry_id}")
    if finding.low is not None and finding.high is not None and finding.low < finding.high:
        many = finding.high - finding.low > 1
        until = f"～{finding.high - 1}" if many else ""
        words.append(f"通し番号 {finding.low}{until}")
    if finding.head is not None:
        words.append(f"先頭値 {finding.head}")
    if finding.act:
        words.append(f"{finding.act} {finding.at}".rstrip())
    return "［" + "　".join(words) + "］"
