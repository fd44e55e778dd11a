"""The world page's server: what it serves, what it refuses, and that it says nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bcl_cli.world.page import WorldPage


def ask(page: WorldPage, path: str, *, method: str = "GET", host: str = "127.0.0.1:8000") -> Any:
    answer: dict[str, Any] = {}

    def start(status: str, headers: list[tuple[str, str]]) -> None:
        answer.update(status=int(status.split()[0]), headers=dict(headers))

    body = page({"REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_HOST": host}, start)
    return answer["status"], answer["headers"], b"".join(body)


@pytest.fixture
def page(tmp_path: Path) -> WorldPage:
    (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.4 test")
    (tmp_path / "secret.key").write_bytes(b"secret")
    calls: list[int] = []
    return WorldPage(lambda: {"asked": len(calls) + len(calls.append(1) or [])}, tmp_path)  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    "path", ["/", "/static/world.css", "/static/world.js", "/static/vendor/design-tokens.css"]
)
def test_page__serves_its_own_assets_with_a_strict_policy(page: WorldPage, path: str) -> None:
    status, headers, body = ask(page, path)
    assert status == 200
    assert len(body) > 200
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert b"http://" not in body.replace(b"http://www.w3.org/2000/svg", b"")
    assert b"https://" not in body


def test_page__serves_results_by_name_and_nothing_beside_them(page: WorldPage) -> None:
    assert ask(page, "/results/paper.pdf")[2] == b"%PDF-1.4 test"
    for path in ("/results/secret.key", "/results/../secret.key", "/results/none.pdf", "/etc", ""):
        assert ask(page, path)[0] == 404


def test_page__other_hosts_and_methods__are_refused(page: WorldPage) -> None:
    assert ask(page, "/", host="attacker.example")[0] == 421
    assert ask(page, "/", method="POST")[0] == 405
    assert ask(page, "/", method="HEAD")[2] == b""


def test_page__status__is_collected_at_most_once_a_second(page: WorldPage) -> None:
    first = json.loads(ask(page, "/status.json")[2])
    assert json.loads(ask(page, "/status.json")[2]) == first
