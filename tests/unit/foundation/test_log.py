"""Logs carry ids, codes and counts, whatever is handed to them."""

from __future__ import annotations

import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcl.foundation import log

pytestmark = pytest.mark.requirement("R-026")

_JAPANESE = st.text(
    st.characters(min_codepoint=0x3041, max_codepoint=0x9FFF), min_size=1, max_size=20
)


def _line(event: str, *, logger: str = "bcl.test", args=(), exc_info=None, **fields) -> str:
    record = logging.LogRecord(logger, logging.INFO, __file__, 1, event, args, exc_info)
    record.bcl_fields = fields
    return log.JsonFormatter().format(record)


def test_line__with_ids_and_counts__prints_them():
    line = json.loads(
        _line(
            "transmission_landed",
            municipality_code="999997",
            rows=1200,
            transmission_id="01JAB3W8Z4N2Q5RTYV6X7M9KCD",
            seconds=1.5,
        )
    )
    assert line["event"] == "transmission_landed"
    assert line["municipality_code"] == "999997" and line["rows"] == 1200
    assert "withheld" not in line


@given(st.sampled_from(["name", "state", "code", "full_name", "row_id", "path"]), _JAPANESE)
def test_line__with_japanese_in_a_field__withholds_it(name, value):
    raw = _line("event", **{name: value})
    assert value not in raw and value not in json.loads(raw).values()
    assert name in json.loads(raw)["withheld"]


@given(st.integers(10**10, 10**12 - 1), st.sampled_from(["code", "row_id", "state", "rows"]))
def test_line__with_a_personal_number__withholds_it(number, name):
    for value in (number, str(number), f"x:{number}", f"/people/{number}/"):
        assert str(number) not in _line("event", **{name: value})


@given(st.text(st.characters(codec="ascii"), min_size=1))
def test_line__with_an_unlisted_field__withholds_it(value):
    line = json.loads(_line("event", full_name=value, address=value, birth_on=value))
    assert line["withheld"] == ["address", "birth_on", "full_name"]


@given(_JAPANESE, st.integers(10**11, 10**12 - 1))
def test_line__of_another_library__prints_the_template_only(text, number):
    raw = _line("Bad row: %s (%s)", logger="django.request", args=(text, number))
    assert json.loads(raw)["event"] == "Bad row: %s (%s)"
    raw = _line(f"Bad row: {text} ({number})", logger="procrastinate.worker")
    assert str(number) not in raw
    assert not any(sign in json.loads(raw)["event"] for sign in text)


@given(_JAPANESE)
def test_exception__with_a_value_in_its_text__prints_type_and_place(text):
    try:
        try:
            raise KeyError(text)
        except KeyError as inner:
            raise ValueError(f"cannot parse {text}") from inner
    except ValueError:
        raw = _line("parse_failed", exc_info=sys.exc_info())
    line = json.loads(raw)
    assert line["exceptions"][0].startswith("builtins.ValueError at ")
    assert line["exceptions"][1].startswith("builtins.KeyError at ")
    assert "test_log.py:" in raw
    assert text not in raw and json.dumps(text)[1:-1] not in raw


def test_line__with_line_breaks__stays_one_line():
    assert "\n" not in _line("a\nb", code="x\ny", state="z\r\n{}")


@pytest.mark.parametrize("name", sorted(log.FORBIDDEN_FIELDS))
def test_field__forbidden_though_its_ending_is_allowed__is_withheld(name):
    assert not log.is_printable(name, "1")


def test_logger__of_ours__writes_json_to_standard_error(capsys):
    log.configure({"level": "INFO"})
    log.get("bcl.test").info("something_done", count=3)
    line = json.loads(capsys.readouterr().err.strip().split("\n")[-1])
    assert line["event"] == "something_done" and line["count"] == 3
