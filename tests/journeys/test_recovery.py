"""Journey: recovery. Step numbers as in docs/journeys/recovery.md."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest

from bcl_cli.world.line import Line, expect
from bcl_cli.world.registry import RECEIVER, receiver_key_path
from bcl_contract import clock
from bcl_contract.refusals import Refusal


@pytest.mark.requirement("R-031", "R-032", "R-033")
def test_recovery__two_persons__give_back_everything_and_only_to_the_receiver(
    landed: Line,
) -> None:
    from bcl.recovery import api as recovery
    from bcl.resident_store import api as store

    sequence = store.applied_position(landed.code).main_sequence
    wish = {
        "as_of": recovery.AsOf(sequence=sequence),
        "reason": "訓練",
        "incident_id": "DRILL-1",
        "receiver_id": RECEIVER,
    }

    # step 1: a request, signed by a member of staff
    signed = landed.sign("staff-a", "request_export", recovery.request_content(**wish))
    export = expect(recovery.request_export(landed.code, **wish, signed=signed, at=clock.now()))

    # step 2: the same person can't approve it; a second one can, and only this very request
    content = recovery.approval_content(export.pk, export.request_sha256)
    alone = landed.sign("staff-a", "approve_export", content)
    refused = recovery.approve_export(landed.code, export.pk, signed=alone, at=clock.now())
    assert isinstance(refused, Refusal)
    other = recovery.approval_content(export.pk, "0" * 64)
    refused = recovery.approve_export(
        landed.code,
        export.pk,
        signed=landed.sign("staff-b", "approve_export", other),
        at=clock.now(),
    )
    assert isinstance(refused, Refusal)

    # step 3, # step 4, # step 5 happen in the worker after the approval below; # step 6 hands out
    paths = landed.make_package()
    package = next(path for path in paths if path.suffix == ".age")
    beside = json.loads(next(path for path in paths if path.name == "recovery.json").read_text())
    assert hashlib.sha256(package.read_bytes()).hexdigest() in json.dumps(beside)
    names = [r["full_name"] for r in landed.town.truth()["J01"] if len(r["full_name"]) >= 4]
    assert not [n for n in names if n.encode() in package.read_bytes() or n in json.dumps(beside)]

    # step 7: opened without BCL and without a network, by the receiver's key and no other
    reader = next(path for path in paths if path.name == "reader.py")
    key = receiver_key_path(landed.world.places, landed.code)
    command = [sys.executable, "-I", "-S", str(reader), str(package), "--check", "--list", "3"]
    read = subprocess.run([*command, "--key", str(key)], capture_output=True, text=True)
    assert read.returncode == 0, read.stderr
    assert f"{landed.town.counts()['住民']}人" in read.stdout
    stranger = receiver_key_path(landed.world.places, "999989")
    read = subprocess.run([*command, "--key", str(stranger)], capture_output=True, text=True)
    assert read.returncode == 1

    # step 8: an empty core system that loads it is equal to the town as it was
    opened = landed.open_package(package)
    comparison = landed.town.compare_recovery(opened)
    opened.unlink()
    assert comparison.equal
    assert sum(file.found for file in comparison.files) > 10_000
