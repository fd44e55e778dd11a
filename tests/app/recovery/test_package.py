"""The package: equal to what the core system sent, for the receiver's eyes only, opened alone."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from datetime import timedelta
from pathlib import Path

import pyrage
import pytest

from bcl.foundation import tenancy
from bcl.recovery import api as recovery
from bcl.resident_store import api as store
from bcl_contract import clock
from bcl_contract.refusals import Refusal

pytestmark = pytest.mark.django_db
PACKAGE = "recovery_999997_{:06}.zip.age"


@pytest.fixture
def build(landed, ask, approve, second, run_jobs):
    """Asks, approves and builds; gives the built export."""

    def built(**changes):
        export = ask(**changes)
        assert not isinstance(export, Refusal), export
        approve(export, second)
        run_jobs()
        found = recovery.find_export(export.municipality_code, export.pk)
        assert found.state == "BUILT"
        return found

    return built


@pytest.fixture
def release(second, tmp_path):
    """Takes a built package out to a folder; gives the folder or the refusal."""

    def released(export, *, at=None):
        content = recovery.release_content(export.pk, export.package_sha256)
        result = recovery.release_export(
            export.municipality_code,
            export.pk,
            to=tmp_path / "out",
            signed=second.sign("release_export", content, at=at),
            at=at or clock.now(),
        )
        return result if isinstance(result, Refusal) else tmp_path / "out"

    return released


def run_reader(reader: Path, *arguments: str) -> subprocess.CompletedProcess:
    """The reader as the receiver runs it: no site packages, no BCL, nothing but the file."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(reader), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=300,
        env={"PATH": os.environ["PATH"], "PYTHONIOENCODING": "utf-8"},
    )


def write_key(folder: Path, identity) -> Path:
    path = folder / "receiver.key"
    path.write_text(f"# 受領者の鍵\n{identity}\n", encoding="utf-8")
    return path


@pytest.mark.requirement("R-031")
@pytest.mark.requirement("R-032")
def test_package__opened_by_the_receiver__equals_the_core_system(
    build, release, landed, receiver_key, tmp_path
) -> None:
    export = build()
    folder = release(export)
    package = folder / PACKAGE.format(export.pk)
    clear = pyrage.decrypt(package.read_bytes(), [receiver_key])
    opened = tmp_path / "opened.zip"
    opened.write_bytes(clear)
    assert landed.core.compare_recovery(opened).equal

    reader = run_reader(
        folder / "reader.py",
        str(package),
        "--key",
        str(write_key(tmp_path, receiver_key)),
        "--check",
        "--list",
        "3",
    )
    assert reader.returncode == 0, reader.stdout + reader.stderr
    assert "すべて一致しました" in reader.stdout
    living = [
        row
        for row in landed.core.truth()["J01"]
        if (row["latest"], row["resident_state"], row["deleted"]) == ("1", "1", "0")
    ]
    households = {row["household_number"] for row in living}
    assert f"住民 {len(living)}人、世帯 {len(households)}世帯" in reader.stdout
    listed = [line.split("\t") for line in reader.stdout.splitlines() if "\t" in line]
    known = {(row["full_name"], row["relationship_as_written"]) for row in living}
    assert listed and all((name.strip(), place) in known for name, place, *_ in listed)
    assert len([line for line in reader.stdout.splitlines() if line.startswith("世帯 ")]) == 3


@pytest.mark.requirement("R-030")
@pytest.mark.requirement("R-031")
def test_package__as_of_the_first_sequence__shows_that_state(
    build, release, landed, receiver_key, tmp_path
) -> None:
    export = build(as_of=recovery.AsOf(sequence=1))
    clear = pyrage.decrypt(
        (release(export) / PACKAGE.format(export.pk)).read_bytes(), [receiver_key]
    )
    opened = tmp_path / "opened.zip"
    opened.write_bytes(clear)
    assert landed.core.compare_recovery(opened, export_number=1).equal
    assert not landed.core.compare_recovery(opened).equal


@pytest.mark.requirement("R-032")
def test_companions__say_what_the_package_is_and_nobodys_data(
    build, release, landed, tmp_path
) -> None:
    export = build()
    folder = release(export)
    assert sorted(path.name for path in folder.iterdir()) == [
        "page.py",
        "reader.py",
        "recovery.json",
        PACKAGE.format(export.pk),
        "signature.py",
    ]
    described = json.loads((folder / "recovery.json").read_bytes())
    package = (folder / PACKAGE.format(export.pk)).read_bytes()
    assert described["package_sha256"] == hashlib.sha256(package).hexdigest()
    assert described["package_bytes"] == len(package)
    counted = {row["file_id"]: row["rows"] for row in described["files"]}
    stored = store.counts(export.municipality_code)
    assert counted == {file_id: stored[file_id] for file_id in counted}
    assert set(stored) - set(counted) <= {"residents"}
    assert described["request_sha256"] == export.request_sha256
    named = {row["full_name"] for row in landed.core.truth()["J01"]}
    text = (folder / "recovery.json").read_text(encoding="utf-8")
    assert not any(name in text for name in named)


@pytest.mark.requirement("R-026")
def test_release_folder__holds_only_ciphertext_and_is_for_one_user(build, landed, tmp_path) -> None:
    export = build()
    package = recovery.package_path(export)
    content = package.read_bytes()
    assert content.startswith(b"age-encryption.org/v1\n")
    assert b"PK\x03\x04" not in content
    for path in (tmp_path / "release").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert [path.name for path in package.parent.iterdir() if "unfinished" in path.name] == []


@pytest.mark.requirement("R-020")
@pytest.mark.parametrize("bytes_before", [0, 1000, 200_000])
def test_build__that_dies_in_the_middle__leaves_nothing_and_is_built_again(
    landed, ask, approve, second, run_jobs, monkeypatch, bytes_before
) -> None:
    class Killed(BaseException):
        pass

    real = store.write_recovery_zip

    def die(target, municipality_code, load_number, *, sign):
        target.write(b"\x00" * bytes_before)
        raise Killed

    export = ask()
    approve(export, second)
    with monkeypatch.context() as broken:
        broken.setattr(store, "write_recovery_zip", die)
        with pytest.raises(Killed):
            run_jobs()
    found = recovery.find_export(export.municipality_code, export.pk)
    assert found.state == "APPROVED"
    assert not recovery.package_path(found).exists()
    assert store.write_recovery_zip is real
    run_jobs()
    assert recovery.find_export(export.municipality_code, export.pk).state == "BUILT"


def test_build__of_a_request_nobody_approved__does_nothing(landed, ask) -> None:
    export = ask()
    recovery.build_export(export.municipality_code, export.pk, at=clock.now())
    found = recovery.find_export(export.municipality_code, export.pk)
    assert found.state == "REQUESTED"
    assert not recovery.package_path(found).exists()


def test_release__before_the_build_or_of_a_spoiled_package__is_refused(
    landed, ask, approve, second, run_jobs, release
) -> None:
    export = ask()
    approve(export, second)
    assert release(export).code == "RECOVERY_NOT_BUILT"
    run_jobs()
    built = recovery.find_export(export.municipality_code, export.pk)
    path = recovery.package_path(built)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert release(built).code == "RECOVERY_BUILD_FAULT"
    path.write_bytes(content)
    assert release(built).is_dir()


def test_release__is_on_record_each_time__and_ends_with_its_time(build, release, town) -> None:
    from bcl.foundation.models import AuditEntry

    export = build()
    release(export)
    release(export)
    with tenancy.scope(town):
        assert AuditEntry.objects.filter(act="release_export").count() == 2
    later = clock.now() + timedelta(days=15)
    assert release(export, at=later).code == "RECOVERY_EXPIRED"
    assert recovery.expire_exports(town, at=later) == 1
    found = recovery.find_export(town, export.pk)
    assert found.state == "EXPIRED"


@pytest.mark.slow
@pytest.mark.requirement("R-032")
def test_opened_package__satisfies_frictionless(build, receiver_key, tmp_path) -> None:
    import warnings

    export = build()
    clear = pyrage.decrypt(recovery.package_path(export).read_bytes(), [receiver_key])
    with zipfile.ZipFile(io.BytesIO(clear)) as zipped:
        zipped.extractall(tmp_path / "opened")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import frictionless

        report = frictionless.validate(str(tmp_path / "opened" / "datapackage.json"))
    assert report.valid, report.flatten(["rowNumber", "fieldName", "type"])[:10]


# --- the reader against what is not as it should be ----------------------------------------------


@pytest.fixture
def taken(build, release, receiver_key, tmp_path):
    """A package taken out, with its reader and key."""
    export = build()
    folder = release(export)
    return (
        folder / "reader.py",
        folder / PACKAGE.format(export.pk),
        write_key(tmp_path, receiver_key),
    )


def test_reader__with_the_wrong_key_or_none__says_so(taken, tmp_path) -> None:
    reader, package, _ = taken
    (tmp_path / "other").mkdir()
    other = write_key(tmp_path / "other", pyrage.x25519.Identity.generate())
    wrong = run_reader(reader, str(package), "--key", str(other))
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "鍵が違います" in wrong.stderr
    none = run_reader(reader, str(package))
    assert none.returncode == 1 and "--key" in none.stderr
    mistyped = run_reader(reader, str(package), "--key", str(tmp_path / "no.key"))
    assert mistyped.returncode == 1 and "no.key" in mistyped.stderr
    assert "壊れています" not in mistyped.stderr  # the medium is good: only the name was wrong
    other.write_text("AGE-SECRET-KEY-1QQQQQQQQ", encoding="utf-8")
    broken = run_reader(reader, str(package), "--key", str(other))
    assert broken.returncode == 1 and "鍵が壊れています" in broken.stderr


def test_reader__with_a_changed_or_cut_package__never_says_all_is_well(taken, tmp_path) -> None:
    reader, package, key = taken
    content = package.read_bytes()
    middle = len(content) // 2
    spoiled = {
        "bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "last byte": content[:-1],
        "last piece": content[: -(64 * 1024)],
        "two pieces swapped": content[:300] + content[-65552:] + content[300:-65552],
        "empty": b"",
        "header only": content[:200],
    }
    for name, changed in spoiled.items():
        path = tmp_path / "spoiled.zip.age"
        path.write_bytes(changed)
        found = run_reader(reader, str(path), "--key", str(key), "--check")
        assert found.returncode == 1, name
        assert "すべて一致" not in found.stdout, name
        assert "Traceback" not in found.stderr, name


def test_reader__with_a_member_that_differs__names_it_and_exits_3(
    taken, receiver_key, tmp_path
) -> None:
    reader, package, _ = taken
    clear = pyrage.decrypt(package.read_bytes(), [receiver_key])
    members = {}
    with zipfile.ZipFile(io.BytesIO(clear)) as zipped:
        members = {name: zipped.read(name) for name in zipped.namelist()}
    table = next(name for name in members if "_J05_" in name)

    def rewritten(**changes: bytes) -> Path:
        path = tmp_path / "clear.zip"
        with zipfile.ZipFile(path, "w") as zipped:
            for name, content in {**members, **changes}.items():
                if content is not None:
                    zipped.writestr(name, content)
        return path

    assert run_reader(reader, str(rewritten()), "--check").returncode == 0
    cut = members[table][: members[table].rindex(b"\r\n", 0, -2) + 2]
    for changes in ({table: cut}, {table: None}, {"more.csv": b"x"}):
        found = run_reader(reader, str(rewritten(**changes)), "--check")
        assert found.returncode == 3, changes.keys()
        assert "不一致" in found.stdout


def test_reader__asked_for_help__answers_in_japanese(taken) -> None:
    found = run_reader(taken[0], "--help")
    assert found.returncode == 0
    assert "リカバリデータ" in found.stdout and "--check" in found.stdout
    assert run_reader(taken[0]).returncode == 2


@pytest.mark.requirement("R-032")
def test_reader__extracted__gives_the_files_to_this_user_and_never_over_others(
    build, release, landed, receiver_key, tmp_path
) -> None:
    export = build()
    folder = release(export)
    key = write_key(tmp_path, receiver_key)
    arguments = [str(folder / PACKAGE.format(export.pk)), "--key", str(key)]
    clear = tmp_path / "clear"
    done = run_reader(folder / "reader.py", *arguments, "--extract", str(clear))
    assert done.returncode == 0 and "必ず消してください" in done.stdout, done.stderr
    assert clear.stat().st_mode & 0o777 == 0o700
    listed = json.loads((clear / "datapackage.json").read_text(encoding="utf-8"))["resources"]
    assert len(listed) > 5
    for entry in listed:
        content = (clear / entry["path"]).read_bytes()
        assert entry["hash"].endswith(hashlib.sha256(content).hexdigest())
    again = run_reader(folder / "reader.py", *arguments, "--extract", str(clear))
    assert again.returncode == 2 and "すでにあります" in again.stderr


@pytest.mark.requirement("R-032")
def test_reader__listing__leaves_out_where_protected_households_live(
    build, release, landed, receiver_key, tmp_path
) -> None:
    export = build()
    folder = release(export)
    key = write_key(tmp_path, receiver_key)
    package = str(folder / PACKAGE.format(export.pk))
    done = run_reader(
        folder / "reader.py", package, "--key", str(key), "--list", "100000"
    )
    tables = landed.core.truth()
    protected = {
        row["addressee_number"] for row in tables["J04"]
        if row["measure_target_kind"] in ("1", "2") and row["deleted"] == "0"
    }  # fmt: skip
    houses = {
        row["household_number"] for row in tables["J01"]
        if row["addressee_number"] in protected
        and (row["latest"], row["resident_state"]) == ("1", "1")
    }  # fmt: skip
    assert houses
    for part in done.stdout.split("\n世帯 ")[1:]:
        number, lines = part.split("（", 1)[0], part.splitlines()[1:]
        guarded = number in houses
        assert ("支援措置" in part) == guarded
        assert all(line.endswith("\t－") == guarded for line in lines if line.startswith("  "))
