"""Nothing of a resident and no key lies readable anywhere that a town's data passes through.

Canaries are what the core system knows of its residents; secrets are every key and password of the
world. Looked through: the database's files and log (WAL), a dump of it, its backup at the second
place, received and released files, the gateway's spool, logs, reports, temporary folders, core
files, and what commands print. Left out: the town hall's own core system and what it got back, and
the simulators outside.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bcl_cli.world.line import Line
from bcl_cli.world.places import Places

TOWN_HALL = ("core", "gateway-rejected", "drop")
OUTSIDE = ("jpki", "kiosk", "compare")


@pytest.fixture(scope="module")
def place(landed: Line) -> Iterator[Path]:
    """A second place with a base backup and the log of the world's database."""
    home = Path(tempfile.mkdtemp(prefix="bcl-second-", dir="/tmp"))
    home.chmod(0o711)
    environment = landed.world.environment() | {"BCL_BACKUP_DIR": str(home / "place")}
    serving = subprocess.Popen(
        [sys.executable, "-m", "bcl_cli.main", "backup", "serve"],
        env=os.environ | environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        for line in serving.stdout:
            if "をとりました" in line:
                break
        yield home / "place"
    finally:
        serving.terminate()
        serving.wait(30)
        serving.stdout.close()
        from bcl.foundation.roles import SUPERUSER

        info = landed.world.cluster().connection_info()
        with psycopg.connect(info.url(SUPERUSER), autocommit=True) as db:
            db.execute("SELECT pg_drop_replication_slot('bcl_backup')")
        subprocess.run(["rm", "-rf", str(home)], check=True)


def canaries_of(line: Line) -> set[bytes]:
    """Names, kana, addresses with their lot, and codes of everybody in the core system."""
    found = set()
    for row in line.town.truth()["J01"]:
        for column in ("full_name", "full_name_kana", "former_surname", "alias"):
            found.add(row[column])
        found.add(row["address_town"] + row["address_lot_as_written"])
        found.add(row["resident_record_code"])
    cleared = {value.encode() for value in found if len(value.encode()) > 10}
    # A dump shows binary columns as hexadecimal digits.
    return cleared | {value.hex().encode() for value in cleared}


def secrets_of(places: Places) -> dict[bytes, Path]:
    """Every key and password of the world, with the one file where it has to lie."""
    found: dict[bytes, Path] = {}
    state = places.state
    homes = [*state.glob("keys/**/*"), *state.glob("pki/*.key"), *state.glob("towns/*/staff/*")]
    homes += [*state.glob("towns/*/receiver/*"), *state.glob("towns/*/gateway/*.key")]
    for home in homes:
        if not home.is_file():
            continue
        content = home.read_bytes()
        for line in content.splitlines():
            text = line.strip()
            if len(text) >= 32 and not text.startswith((b"-----", b"#")):
                found[text] = home
    passwords = state / "postgres" / "passwords.json"
    for value in json.loads(passwords.read_text()).values():
        found[value.encode()] = passwords
    people = state / "console" / "people.json"
    for person in json.loads(people.read_text()):
        for name in ("password", "totp_secret"):
            found[person[name].encode()] = people
    return found


def holding(needles: set[bytes], folders: list[Path], folder: Path) -> set[Path]:
    """Files below `folders` that hold one of the needles."""
    listed = folder / "needles"
    listed.write_bytes(b"\n".join(sorted(needles)) + b"\n")
    listed.chmod(0o600)
    done = subprocess.run(
        ["grep", "-rlaFf", str(listed), "--", *map(str, folders)],
        capture_output=True, check=False, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    listed.unlink()
    return {Path(os.fsdecode(each)) for each in done.stdout.splitlines()} - {listed}


def places_to_look(line: Line, place: Path) -> list[Path]:
    state = line.world.places.state
    inside = [each for each in state.iterdir() if each.name not in (*OUTSIDE, "towns")]
    halls = [each for each in state.glob("towns/*/*") if each.name not in TOWN_HALL]
    return [*inside, *halls, place, Path(tempfile.gettempdir())]


def dump(line: Line, to: Path) -> None:
    """pg_dump as an administrator would take one, in the clearest form there is."""
    from bcl.foundation.roles import DATABASE, SUPERUSER

    info = line.world.cluster().connection_info()
    command = [str(info.bin_dir / "pg_dump"), "-d", info.url(SUPERUSER, database=DATABASE)]
    with to.open("wb") as file:
        subprocess.run(command, stdout=file, check=True)


def say(line: Line, place: Path, to: Path) -> None:
    """What commands of the operator print, one after the other into a file."""
    environment = os.environ | line.world.environment() | {"BCL_BACKUP_DIR": str(place)}
    commands = (
        ("drill", "run"), ("keys", "status"), ("backup", "status"), ("linkage", "status"),
        ("security-report",), ("recovery", "status", "--municipality", line.code),
        ("audit", "export", "--municipality", line.code, "--out", str(to.parent / "audit.jsonl")),
        ("keys", "escrow", "create"), ("nonsense",),
    )  # fmt: skip
    with to.open("wb") as file:
        for words in commands:
            subprocess.run(
                [sys.executable, "-m", "bcl_cli.main", *words],
                env=environment, stdout=file, stderr=file, check=False, timeout=120,
            )  # fmt: skip
    said = to.read_text(encoding="utf-8")
    assert '"passed": true' in said
    # The drill made certificates anew from the restored data: the same bytes as here.
    assert '"certificate_equal": true' in said and '"certificates_compared": 0' not in said


@pytest.mark.requirement("R-026")
@pytest.mark.requirement("R-176")
@pytest.mark.requirement("R-034")
def test_everything_a_towns_data_passes_through__holds_no_resident_and_no_secret(
    landed: Line, place: Path, tmp_path: Path
) -> None:
    from bcl.foundation.roles import SUPERUSER

    paths = landed.make_package()
    out = tmp_path / "out"
    out.mkdir()
    dump(landed, out / "dump.sql")
    say(landed, place, out / "said.txt")
    info = landed.world.cluster().connection_info()
    looked = [*places_to_look(landed, place), out, *paths]
    canaries, secrets = canaries_of(landed), secrets_of(landed.world.places)
    assert len(canaries) > 3000 and len(secrets) > 30
    with psycopg.connect(info.url(SUPERUSER), autocommit=True) as db:
        db.execute("CHECKPOINT")
    found = holding(canaries, looked, tmp_path)
    assert found == set()
    leaks = {
        path for path in holding(set(secrets), looked, tmp_path)
        if any(
            secret in path.read_bytes() for secret, home in secrets.items()
            if path not in (home, *_same_secret(home, landed.world.places))
        )
    }  # fmt: skip
    assert leaks == set()
    assert [path for folder in looked for path in folder.rglob("core*") if _is_core(path)] == []

    # The same look sees a real leak: in a table, and with it in the log and at the second place.
    sample = sorted(each for each in canaries if each[0] > 127)[0].decode()
    with psycopg.connect(info.url(SUPERUSER), autocommit=True) as db:
        db.execute("CREATE TABLE leak AS SELECT %s::text AS name", [sample])
        db.execute("CHECKPOINT")
        db.execute("SELECT pg_switch_wal()")
    try:
        dump(landed, out / "dump.sql")
        seen = holding(canaries, looked, tmp_path)
        whole = {str(path) for path in seen}
        assert any("/data/base/" in path for path in whole)
        assert any("/data/pg_wal/" in path for path in whole)
        assert any(path.startswith(str(place / "wal")) for path in whole)
        assert out / "dump.sql" in seen
    finally:
        with psycopg.connect(info.url(SUPERUSER), autocommit=True) as db:
            db.execute("DROP TABLE leak")


def _same_secret(home: Path, places: Places) -> list[Path]:
    """Other files that must hold the same secret: a browser's key beside its terminal's."""
    return [*places.state.glob("console/*.p12")] if home.suffix == ".key" else []


def _is_core(path: Path) -> bool:
    return path.is_file() and path.open("rb").read(4) == b"\x7fELF" and "binaries" not in str(path)
