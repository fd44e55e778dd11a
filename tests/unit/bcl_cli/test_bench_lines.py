"""What `bcl bench` prints says of every figure whether its goal is met."""

from __future__ import annotations

import pytest

from bcl_cli.bench import BENCHES, FOLDER, GOALS, TITLES, describe


def _result(name: str, times_the_goal: float, memory_mb: float) -> dict:
    return {
        "name": name, "rows": 1000, "seconds": 1.5, "peak_memory_mb": memory_mb,
        "ratios": {goal.peer: goal.at_least * times_the_goal for goal in GOALS[name]},
    }


@pytest.mark.parametrize("name", BENCHES)
def test_bench__of_every_name__has_a_module_a_title_and_goals(name: str) -> None:
    assert (FOLDER / f"{name}.py").is_file()
    assert TITLES[name] in describe(_result(name, 1.0, 100))
    assert GOALS[name]


def test_describe__of_a_missed_and_of_a_met_goal__says_so() -> None:
    met, missed = (describe(_result("load", times, 100)) for times in (1.0, 0.99))
    assert "未達成" not in met
    assert missed.count("未達成") == len(GOALS["load"])


def test_describe__of_a_load_above_the_memory_goal__says_so() -> None:
    assert describe(_result("load", 1.0, 513)).count("未達成") == 1
    assert "未達成" not in describe(_result("load", 1.0, 512))
