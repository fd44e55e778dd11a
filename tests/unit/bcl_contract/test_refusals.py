"""Refusals: one list of codes, plain text, who can fix it, never a value."""

from __future__ import annotations

import csv
import re
from importlib.resources import files

import pytest

from bcl_contract.refusals import HEADER, REFUSALS, Refusal


def rows() -> list[dict[str, str]]:
    with files("bcl_contract").joinpath("data/refusals.csv").open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.requirement("R-266")
def test_refusals__the_list__is_whole_and_readable():
    table = rows()
    assert list(table[0]) == HEADER
    codes = [row["code"] for row in table]
    assert len(set(codes)) == len(codes) == len(REFUSALS)
    for row in table:
        assert re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", row["code"]), row["code"]
        assert all(row[name].strip() for name in HEADER), row["code"]
        assert 200 <= int(row["http_status"]) < 600
        assert re.search(r"[ぁ-んァ-ン一-龥]", row["text_ja"]), row["code"]


def test_refusal__unknown_code__is_a_key_error():
    with pytest.raises(KeyError):
        Refusal("NO_SUCH_CODE")


@pytest.mark.requirement("R-266")
def test_refusal__as_json__says_what_who_how():
    refusal = Refusal("LINKAGE_REQUIRED", {"line": 3})
    assert set(refusal.as_json()) == {"code", "text", "who", "how", "detail"}
    assert refusal.as_json()["detail"] == {"line": 3}
    assert refusal == Refusal("LINKAGE_REQUIRED", {"line": 3})
    assert len({refusal, Refusal("LINKAGE_REQUIRED", {"line": 3})}) == 1
    with pytest.raises(TypeError):
        refusal.detail["line"] = 4
