"""kill -9, EIO and ENOSPC at every call that makes something lasting on the way in (R-017, R-020).

A first run counts the calls (fsync, rename, unlink, …); then each of them is the last one a
process makes. Afterwards the same work is taken up again and must come to the same end: landed
once, nothing lying about. Short in `make test`; `make soak` sets BCL_CRASH_POINTS (0 = all).
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyrage
import pytest

from bcl_contract import clock, folder_transfer
from bcl_contract.folder_transfer import Word
from bcl_gateway.states import ItemState
from bcl_sim.soak_ledger import Ledger

POINTS = int(os.environ.get("BCL_CRASH_POINTS", "1"))
SEED = int(os.environ.get("BCL_SOAK_SEED", "20261125"))
LASTING = "fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,ftruncate"
FAULTS = {
    "kill": (LASTING, "signal=SIGKILL"),
    "eio": ("fsync,fdatasync", "error=EIO"),
    "enospc": ("pwrite64,fallocate", "error=ENOSPC"),
}
WAYS = ["receive", "folder", "gateway"]

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None
    or subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode != 0,
    reason="needs strace, and the right to trace",
)

RECEIVE = """
import sys
from bcl_cli.serve import start_django
start_django("command")
from bcl.foundation import jobs, tenancy
from bcl.linkage import settings
from bcl.linkage.actions import upload as uploads
from bcl.linkage.models import Upload, UploadState
from bcl_contract import clock
import hashlib, io
code, gateway_id, package, bundle = sys.argv[1:5]
content = open(package, "rb").read()
class Body:
    def __init__(self, data):
        self.declared, self.read = len(data), io.BytesIO(data).read
intake = uploads.Intake(code, gateway_id, settings.receive_area(), settings.limits())
with tenancy.scope(code):
    found = Upload.objects.filter(bundle_id=bundle, state=UploadState.OPEN).first()
at = clock.now()
if found is None:
    made = uploads.create_upload(
        intake, length=len(content), bundle_id=bundle, filename="x", at=at
    )
    upload_id, offset = made.upload_id, 0
else:
    upload_id, offset = found.id, found.offset
while offset < len(content):
    piece = content[offset : offset + 65536]
    chunk = uploads.Chunk(
        offset, Body(piece), uploads.new_hasher(), hashlib.sha256(piece).digest()
    )
    offset = uploads.append_chunk(intake, upload_id, chunk, at=at).offset
jobs.run_pending_now()
"""

FOLDER = """
import sys
from bcl_cli.serve import start_django
start_django("command")
from bcl.foundation import jobs
from bcl.linkage import api
from bcl_contract import clock
api.watch_folder(sys.argv[1], at=clock.now())
jobs.run_pending_now()
api.watch_folder(sys.argv[1], at=clock.now())
"""

GATEWAY = """
import json, sys
from pathlib import Path
from bcl_gateway.api import Gateway
from bcl_gateway.config import parse_config
with Gateway(parse_config(json.loads(Path(sys.argv[1]).read_text()), base=Path("/"))) as own:
    own.run_once()
    for _ in range(5):
        own.send(patience_seconds=0.1)
"""


@dataclass
class Work:
    """One piece of work that a crash interrupts: how it is started, and how its end is judged."""

    hall: Any
    arguments: list[str]
    finish: Callable[[], None]
    environ: dict[str, str]

    def run(self, *strace: str, log: Path) -> int:
        command = ["strace", "-f", "-qq", "-o", str(log), *strace, sys.executable, "-B", "-c"]
        done = subprocess.run(
            [*command, *self.arguments],
            env=self.environ, timeout=120, capture_output=True, check=False,
        )  # fmt: skip
        return done.returncode


@pytest.fixture
def make_work(make_hall, tmp_path: Path, monkeypatch) -> Callable[[str], Work]:
    source = {"receive": RECEIVE, "folder": FOLDER, "gateway": GATEWAY}
    path = str(Path(__file__).parents[3] / "src")
    environ = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}

    def make(way: str) -> Work:
        import json

        hall = make_hall()
        hall.export("full")
        if way == "gateway":
            file = hall.folder / "settings.json"
            file.write_text(json.dumps(hall.settings()))
            return Work(hall, [source[way], str(file)], lambda: finish_gateway(hall), environ)
        content, bundle, _ = hall.sealed(hall.gateway())
        if way == "folder":
            folders = put_into_folder(hall, content, bundle, tmp_path / "folders", monkeypatch)
            own = environ | {"BCL_FOLDER_TRANSFER_DIR": str(folders.root)}
            finish = lambda: finish_bcl(hall, folders)  # noqa: E731
            return Work(hall, [source[way], hall.code], finish, own)
        package = hall.folder / "package.zip"
        package.write_bytes(content)
        arguments = [source[way], hall.code, hall.gateway_id, str(package), bundle]
        again = lambda: finish_bcl(hall, None, arguments, environ)  # noqa: E731
        return Work(hall, arguments, again, environ)

    return make


def put_into_folder(hall, content: bytes, bundle: str, root: Path, monkeypatch):
    from django.conf import settings

    from bcl.foundation import audit
    from bcl.linkage import api as linkage

    monkeypatch.setattr(settings, "BCL", replace(settings.BCL, folder_transfer_dir=root))
    with hall.door.database():
        folders = linkage.make_transfer_folders(hall.code)
        by = audit.Actor("system", "test")
        key = linkage.get_transfer_key(hall.code, by=by, at=clock.now())
    sealed = pyrage.encrypt(content, [pyrage.x25519.Recipient.from_str(key.recipient)])
    digest = folder_transfer.digest(sealed)
    name = folder_transfer.file_name(hall.code, bundle, digest, ".package")
    word = Word(
        environment="verification", municipality_code=hall.code, kind="package",
        sent_at=clock.now(), bundle_id=bundle, package_sha256=folder_transfer.digest(content),
        package_bytes=len(content), file_name=name, file_bytes=len(sealed), file_sha256=digest,
        key_id=key.key_id,
    )  # fmt: skip
    (folders.incoming / name).write_bytes(sealed)
    signing = hall.door.pki.gateway_signing(hall.code).private()
    ready = folders.incoming / name.replace(".package", ".ready")
    ready.write_bytes(folder_transfer.write_word(word, signing))
    return folders


def finish_bcl(hall, folders, arguments=None, environ=None) -> None:
    """Take the interrupted work up again and look at what is there."""
    if arguments is not None and [state for _, state in hall.transmissions()] == []:
        subprocess.run([sys.executable, "-c", *arguments], env=environ, timeout=120, check=True)
    with hall.door.database():
        from bcl.linkage import api as linkage

        for _ in range(2):
            linkage.watch_folder(hall.code, at=clock.now())
            hall.work()
        linkage.tidy_intake(hall.code, at=clock.now())
        if folders is not None:
            assert [path.name for path in folders.incoming.iterdir()] == []
            assert len(list(folders.outgoing.glob("*.answer"))) == 1
    landed_once(hall)


def finish_gateway(hall) -> None:
    gateway = hall.gateway()
    gateway.run_once(patience_seconds=10)
    hall.deliver(gateway)
    hall.work()
    gateway.send(patience_seconds=10)
    (item,) = gateway.journal.items()
    assert item.state is ItemState.LANDED and item.sequence == 1
    config = gateway.config
    for folder in (config.spool_dir, config.work_dir, config.rejected_dir, config.drop_dir):
        assert [path.name for path in folder.iterdir()] == []
    landed_once(hall)


def landed_once(hall) -> None:
    assert [state for _, state in hall.transmissions()] == ["LANDED"]
    with hall.door.database():
        from bcl.foundation import tenancy
        from bcl.linkage import api as linkage
        from bcl.linkage import settings as intake_settings
        from bcl.linkage.models import Upload
        from bcl.resident_store import api as store

        assert store.applied_position(hall.code).load_number == 1
        linkage.tidy_intake(hall.code, at=clock.now())
        assert list(intake_settings.receive_area().stored_uploads(hall.code)) == []
        with tenancy.scope(hall.code):
            # An upload nobody finishes is no more than one, and ends by itself after a day.
            assert Upload.objects.filter(state="OPEN").count() <= 1


def calls_made(log: Path, calls: str) -> list[tuple[str, int]]:
    """The calls of the main thread as (name, how many-eth of that name).

    strace counts for each thread and each name by itself.
    """
    lines = log.read_text(errors="replace").splitlines()
    main = lines[0].split()[0]
    seen: Counter[str] = Counter()
    points = []
    for line in lines:
        found = re.match(rf"{main} +({calls.replace(',', '|')})\(", line)
        if found:
            seen[found[1]] += 1
            points.append((found[1], seen[found[1]]))
    return points


def points_of(way: str, calls: str, make_work, log: Path) -> list[tuple[str, int]]:
    """All calls of a whole run; in a short run some of the first three, which every way makes."""
    if POINTS:
        name = "fdatasync" if way == "gateway" else "fsync"
        return [(name, 1 + number) for number in random.Random(SEED).sample(range(3), POINTS)]
    work = make_work(way)
    assert work.run("-e", f"trace={calls}", log=log) == 0
    work.finish()
    points = calls_made(log, calls)
    assert points, f"{way} makes no {calls}"
    return points


@pytest.mark.requirement("R-017")
@pytest.mark.requirement("R-020")
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("way", WAYS)
def test_crash__at_every_lasting_call__is_taken_up_and_lands_once(
    way: str, make_work, ledger: Ledger, tmp_path: Path
) -> None:
    log = tmp_path / "strace.log"
    for fault, (calls, what) in FAULTS.items():
        if POINTS and fault != "kill":
            continue
        for name, number in points_of(way, calls, make_work, log):
            case = f"crash/{way}/{fault}/{name}/{number}"
            if ledger.has(case):
                continue
            work = make_work(way)
            inject = f"inject={name}:{what}:when={number}"
            code = work.run("-e", f"trace={name}", "-e", inject, log=log)
            if fault == "kill":
                assert code in (-signal.SIGKILL, 128 + signal.SIGKILL), (case, code)
            work.finish()
            ledger.note(case, result="landed once", exit=code)
    assert set(ledger.results(f"crash/{way}/")) <= {"landed once"}
