"""A process that falls while it holds keys leaves no image of its memory on the disk."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.requirement("R-176")
FALL = "import os, signal; os.kill(os.getpid(), signal.SIGABRT)"
STARTS = {
    "cloud": "import django; django.setup()",
    "gateway": (
        "from bcl_gateway.main import gateway\n"
        "import click\n"
        "gateway.callback.__wrapped__(click.Context(gateway), None)"
    ),
    "load": "from bcl_contract import private_memory; private_memory.keep_out_of_dumps()",
}


def fall(folder: Path, before: str) -> tuple[bool, list[Path]]:
    """Let a process fall after `before`: whether the kernel wrote an image, and the files left."""
    folder.mkdir()
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]

    def unlimited() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

    child = subprocess.Popen(
        [sys.executable, "-c", f"{before}\n{FALL}"],
        cwd=folder, preexec_fn=unlimited,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "bcl.config.settings"},
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status = os.waitpid(child.pid, 0)
    child.returncode = status
    assert os.WIFSIGNALED(status)
    return os.WCOREDUMP(status), list(folder.iterdir())


def test_processes_with_keys__that_fall__leave_no_core_file(tmp_path) -> None:
    dumped, files = fall(tmp_path / "control", "pass")
    if not dumped:
        pytest.skip("this machine writes no core files at all")
    for path in files:
        path.unlink()
    for name, start in STARTS.items():
        assert fall(tmp_path / name, start) == (False, []), name
