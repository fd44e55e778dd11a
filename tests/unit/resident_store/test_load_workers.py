"""Worker processes of a load: the same answers as in one process, and no process left behind."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings

from bcl.resident_store import page_cutter, pages
from bcl.resident_store.load_worker import BlockTask, Broken, FileTask
from bcl.resident_store.load_workers import LoadWorkers, WorkerLost
from bcl.resident_store.page_cutter import PageCutter
from bcl_contract.linkage.layouts import load_interface
from bcl_contract.linkage.table import canonical_line, iter_chunks

LAYOUT = load_interface("1.0").files["J05"]
TASK = FileTask(
    interface_version="1.0", file_id="J05", municipality_code="999997", lane="main", mode="full",
    as_of=date(2026, 11, 1), file="J05", urgent=False,
    cutter=PageCutter("999997", "J05", 3, 1, b"p" * 32),
    identity_secret=b"i" * 32, search_secret=b"s" * 32,
)  # fmt: skip
SOURCE = Path(page_cutter.__file__).resolve().parents[2]


def link(number: int, **values: str) -> dict[str, str]:
    return {
        "municipality_code": "999997", "addressee_number": f"{number:015d}",
        "digital_certificate_kind": "1", "serial_number": f"A{number}",
        "issuer_key": "CN=JPKI-USER-01", "expires_on": "2030-01-01", "link_status": "1",
        "deleted": "0", "operator_id": "op1", "operated_on": "2026-10-01",
        "operated_time": "09:00:00",
    } | values  # fmt: skip


def blocks(rows: list[dict[str, str]], *, ending: bytes = b"\r\n", size: int = 1 << 16):
    lines = [canonical_line([row.get(name) for name in LAYOUT.names]) for row in rows]
    data = b"".join([LAYOUT.header_line, *lines]).replace(b"\r\n", ending)
    return list(iter_chunks(io.BytesIO(data), LAYOUT, chunk_bytes=size).blocks())


@pytest.fixture(scope="module")
def workers():
    with LoadWorkers(2) as running:
        running.start()
        yield running


def opened(checked) -> list[bytes]:
    """The lines of the sealed pages, opened in their places."""
    cut = TASK.cutter
    return [
        line
        for page in checked.sealed.pages
        for line in pages.open_lines(
            lambda _: cut.secret,
            pages.PagePlace("999997", "J05", cut.load_number, page.number, cut.key_version),
            page.sealed, page.clear_size, page.rows,
        )
    ]  # fmt: skip


VALUES = st.fixed_dictionaries(
    {},
    optional={
        "link_status": st.sampled_from(["1", "2", "9", ""]),
        "deleted": st.sampled_from(["0", "1", "x"]),
        "expires_on": st.sampled_from(["2030-02-28", "2030-02-30", "9999-99-99", ""]),
        "issuer_key": st.sampled_from(["CN=A", 'CN="B"', "ＣＮ"]),
        "municipality_code": st.sampled_from(["999997", "131016"]),
    },
)


@given(
    values=st.lists(VALUES, min_size=1, max_size=300),
    ending=st.sampled_from([b"\r\n", b"\n"]),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_worker__any_rows__answers_as_this_process_does(workers, values, ending) -> None:
    for block in blocks([link(n, **each) for n, each in enumerate(values)], ending=ending):
        ours = TASK.checker().check(block, first_page=5)
        theirs = workers.submit(TASK, BlockTask(block, 5)).result(timeout=60)
        assert theirs.findings == ours.findings
        for name in ("bad", "deleted", "valid_links", "search_keys", "search_rows"):
            assert np.array_equal(getattr(theirs, name), getattr(ours, name))
        for one, other in zip(theirs.slots.arrays(), ours.slots.arrays(), strict=True):
            assert np.array_equal(one, other)
        assert (theirs.canonical or block.data) == ours.canonical
        assert opened(theirs) == opened(ours)
        lines = ours.canonical.splitlines(keepends=True)
        assert opened(ours) == [lines[row] for row in np.flatnonzero(ours.sealed.rows)]
        assert [page.number for page in theirs.sealed.pages] == [
            5 + place for place in range(len(theirs.sealed.pages))
        ]


def test_worker__a_broken_block__is_told_with_its_line(workers) -> None:
    (block,) = blocks([link(1), link(2)])
    broken = type(block)(block.first_line, block.data[:-4] + b"\r\n", block.lines)
    found = workers.submit(TASK, BlockTask(broken, 0)).result(timeout=60)
    assert isinstance(found, Broken)
    assert found.findings[0].line == 3


def test_worker__killed__fails_the_load_and_leaves_no_process() -> None:
    (block,) = blocks([link(1)])
    with LoadWorkers(1) as running:
        running.start()
        (process,) = running.process_ids()
        assert not isinstance(running.submit(TASK, BlockTask(block, 0)).result(60), Broken)
        os.kill(process, signal.SIGKILL)
        with pytest.raises(WorkerLost):
            running.submit(TASK, BlockTask(block, 0)).result(timeout=60)
    assert not psutil.pid_exists(process)


def test_workers__of_a_load_that_fails__end_with_it() -> None:
    with pytest.raises(RuntimeError, match="disk"), LoadWorkers(2) as running:
        running.start()
        processes = list(running.process_ids())
        raise RuntimeError("disk")
    assert not any(map(psutil.pid_exists, processes))


def test_workers__of_a_killed_process__end_by_themselves() -> None:
    program = (
        "import time\n"
        "from bcl.resident_store.load_workers import LoadWorkers\n"
        "running = LoadWorkers(2)\n"
        "running.start()\n"
        "print(*running.process_ids(), flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
    )  # fmt: skip
    assert parent.stdout is not None
    children = [psutil.Process(int(each)) for each in parent.stdout.readline().split()]
    assert len(children) == 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 30
    while any(child.is_running() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_worker__gets_no_secret_by_argument_or_environment() -> None:
    os.environ["BCL_TEST_SECRET"] = "hidden"
    try:
        with LoadWorkers(1) as running:
            running.start()
            (process,) = running.process_ids()
            seen = psutil.Process(process)
            (block,) = blocks([link(1)])
            running.submit(TASK, BlockTask(block, 0)).result(timeout=60)
            everything = " ".join([*seen.cmdline(), *seen.environ().values()])
            assert "hidden" not in everything
            for secret in (TASK.identity_secret, TASK.search_secret, TASK.cutter.secret):
                assert secret.decode() not in everything
                assert secret.hex() not in everything
    finally:
        del os.environ["BCL_TEST_SECRET"]
    assert "pppp" not in repr(TASK)
    assert "iiii" not in repr(TASK)
