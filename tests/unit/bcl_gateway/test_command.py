"""The `bcl-gateway` command, its settings, its self check, and what its wheel contains."""

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bcl_contract import clock
from bcl_gateway import self_audit
from bcl_gateway.api import Gateway
from bcl_gateway.config import ConfigFault, load_config, parse_config
from bcl_gateway.main import gateway as command

REPOSITORY = Path(__file__).parents[3]


def as_toml(settings: dict[str, Any]) -> str:
    """Plain settings as TOML: JSON strings, numbers and lists are TOML too."""
    lines = [f"{k} = {json.dumps(v)}" for k, v in settings.items() if not isinstance(v, dict)]
    for name, table in settings.items():
        if isinstance(table, dict):
            lines += [f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in table.items())]
    return "\n".join(lines)


@pytest.fixture
def call(make_settings: Callable[..., dict[str, Any]], tmp_path: Path) -> Callable[..., Result]:
    path = tmp_path / "gateway.toml"
    path.write_text(as_toml(make_settings()), encoding="utf-8")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(command, ["--config", str(path), *arguments])

    return run


@pytest.mark.requirement("R-004")
def test_command__step_by_step__exits_0_and_speaks_japanese(call, drop, server) -> None:
    drop("night")
    for name, said in (
        ("collect", "受け取り 1件"),
        ("check", "検査済み"),
        ("sign", "main 1番: 署名済み"),
        ("send", "送信 1件、結果 1件"),
        ("status", "1番まで反映"),
    ):
        done = call(name)
        assert done.exit_code == 0, done.output
        assert said in done.output
    shown = call("report")
    assert "状態: BCLで反映済み" in shown.output and "BCLの結果: LANDED" in shown.output
    assert call("report", "99").exit_code == 2
    facts = json.loads(call("status", "--json").output)
    assert facts["counts"]["LANDED"] == 1 and facts["lanes"]["main"]["last_landed"] == 1
    assert facts["items"][0]["receipt"]["sha256"] == facts["items"][0]["package_sha256"]


@pytest.mark.requirement("R-012")
def test_command__wrong_folder__exits_3_with_code_who_and_how(call, drop, rewrite_ready) -> None:
    drop("night", rewrite_ready(municipality_code="999989"))
    done = call("send", "--patience", "0")
    assert done.exit_code == 3
    for text in ("GATEWAY_DROP_WRONG_MUNICIPALITY", "直せる人", "直し方", "差戻し 1件"):
        assert text in done.output


def test_command__wrong_usage_or_settings__exits_2(call, tmp_path: Path) -> None:
    assert call("no-such-command").exit_code == 2
    assert call("restore", str(tmp_path / "gateway.toml")).exit_code == 2
    missing = CliRunner().invoke(command, ["--config", str(tmp_path / "none.toml"), "status"])
    assert missing.exit_code == 2 and "設定ファイルが見つかりません" in missing.output


def test_command__help__is_japanese_everywhere(call) -> None:
    for arguments in (["--help"], *([name, "--help"] for name in command.commands)):
        done = CliRunner().invoke(command, arguments)
        assert done.exit_code == 0
        assert "使い方" in done.output
        for english in ("Usage:", "Options:", "Commands:", "Show this message"):
            assert english not in done.output


@pytest.mark.requirement("R-004")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"environment": "test"}, "environment"),
        ({"municipality_code": "999998"}, "検査数字"),
        ({"surprise": 1}, "surprise"),
        ({"server": {"url": "http://localhost/"}}, "https"),
        ({"server": {"url": "https://user@localhost/"}}, "https"),
        ({"server": {"public_keys": []}}, "public_keys"),
        ({"server": {"public_keys": ["AB" * 32]}}, "public_keys"),
        ({"server": {"receipt_key": "abc"}}, "receipt_key"),
        ({"server": {"surprise": 1}}, "server.surprise"),
        ({"tuning": {"chunk_mib": 1000}}, "chunk_mib"),
        ({"tuning": {"settle_seconds": True}}, "settle_seconds"),
        ({"tuning": {"surprise": 1}}, "tuning.surprise"),
        ({"drop_dir": 5}, "drop_dir"),
    ],
)
def test_config__one_wrong_value__stops_with_one_sentence_that_names_it(
    make_settings: Callable[..., dict[str, Any]], change: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigFault, match=said) as fault:
        parse_config(make_settings(**change), base=Path("/"))
    assert "\n" not in str(fault.value)


def test_config__relative_paths_and_missing_entries(make_settings, tmp_path: Path) -> None:
    content = make_settings() | {"drop_dir": "outbox"}
    assert parse_config(content, base=tmp_path).drop_dir == tmp_path / "outbox"
    for name in ("environment", "server", "signing_key_file"):
        with pytest.raises(ConfigFault, match=name):
            parse_config({k: v for k, v in content.items() if k != name}, base=tmp_path)
    (tmp_path / "broken.toml").write_text("environment = ")
    with pytest.raises(ConfigFault, match="書き方"):
        load_config(tmp_path / "broken.toml")


@pytest.mark.requirement("R-041")
@pytest.mark.requirement("R-004")
def test_doctor__everything_in_order__all_good(gateway: Gateway) -> None:
    checks = {check.name: check for check in gateway.doctor()}
    assert {name for name, check in checks.items() if check.ok is not True} <= {
        "clock", "no_listener", "no_media",
    }  # fmt: skip
    assert "certificate" in checks and "reachable" in checks and "same_disk" in checks


@pytest.mark.requirement("R-041")
@pytest.mark.parametrize(
    ("broken", "name"),
    [
        ("signing key readable", "keys"),
        ("tls key readable", "tls_key"),
        ("spool folder open", "folder_modes"),
        ("spool file open", "spool_modes"),
        ("left-over", "spool_purged"),
        ("clear text in the spool", "spool_sealed"),
        ("clear text behind a magic", "spool_sealed"),
        ("journal readable", "file_modes"),
        ("clear folder left at work", "clear_work"),
        ("returned long ago", "clear_rejected"),
        ("forgotten in the drop", "clear_drop"),
        ("disk full", "free_space"),
        ("certificate expires", "certificate"),
        ("no server", "reachable"),
        ("wrong server", "reachable"),
    ],
)
def test_doctor__one_thing_wrong__names_it(
    make_settings, tmp_path: Path, server, pki, broken: str, name: str
) -> None:
    settings = make_settings()
    copies = {"signing_key_file": settings, "key_file": settings["server"]}
    for key, table in copies.items():
        copy = tmp_path / key
        copy.write_bytes(Path(table[key]).read_bytes())
        copy.chmod(0o600)
        table[key] = str(copy)
    offset = timedelta()
    if broken == "disk full":
        settings["tuning"]["minimum_free_mib"] = 1 << 20
    elif broken == "wrong server":
        settings["server"]["public_keys"] = ["0" * 64]
    elif broken == "certificate expires":
        offset = timedelta(days=380)
    with Gateway(parse_config(settings, base=tmp_path)) as own:
        spool = own.config.spool_dir
        {
            "signing key readable": lambda: (tmp_path / "signing_key_file").chmod(0o640),
            "tls key readable": lambda: (tmp_path / "key_file").chmod(0o604),
            "spool folder open": lambda: spool.chmod(0o755),
            "spool file open": lambda: (spool / "x").touch(0o644),
            "left-over": lambda: aged(spool / "x", minutes=11).chmod(0o600),
            "clear text in the spool": lambda: (spool / "x").write_text("氏名,住所"),
            "clear text behind a magic": lambda: (spool / "x").write_bytes(
                b"BCLSEAL1" + b"name,address\r\n" * 500
            ),
            "journal readable": lambda: own.config.journal_file.chmod(0o644),
            "clear folder left at work": lambda: (own.config.work_dir / "77").mkdir(),
            "returned long ago": lambda: aged(own.config.rejected_dir / "x", minutes=15 * 1440),
            "forgotten in the drop": lambda: aged(own.config.drop_dir / "x", minutes=6000),
            "no server": server.close,
        }.get(broken, lambda: None)()
        with clock.use(clock.Clock(offset=offset)):
            checks = own.doctor()
    assert name in {check.name for check in checks if check.ok is False}


def aged(path: Path, *, minutes: int) -> Path:
    """An empty folder (in the spool a file) that was last changed so long ago."""
    if path.parent.name == "spool":
        path.write_bytes(b"BCLSEAL1")
    else:
        path.mkdir()
    at = time.time() - minutes * 60
    os.utime(path, (at, at))
    return path


@pytest.mark.requirement("R-041")
def test_doctor__while_things_wait__all_good(gateway: Gateway, drop) -> None:
    """Sealed, returned, and taken: every file the gateway itself makes passes its own audit."""
    drop("good")
    assert isinstance(gateway.collect(), object) and isinstance(gateway.check(), list)
    gateway.sign()
    drop("waiting")
    gateway.collect()
    assert len(list(gateway.config.spool_dir.iterdir())) == 1
    assert [check for check in gateway.doctor() if check.ok is False] == []


@pytest.mark.requirement("R-041")
def test_commands__every_one__was_looked_at_for_take_out() -> None:
    assert set(command.commands) == self_audit.COMMANDS


@pytest.mark.requirement("R-041")
def test_removable_media__a_stick_or_its_partition__is_named(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n23 22 8:17 / /media/usb rw - vfat /dev/sdb1 rw\n"
    )
    for disk, part, number, flag in (("sda", "sda1", "8:1", "0"), ("sdb", "sdb1", "8:17", "1")):
        folder = tmp_path / "sys/block" / disk / part
        folder.mkdir(parents=True)
        (folder.parent / "removable").write_text(f"{flag}\n")
        (tmp_path / "sys/dev/block").mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys/dev/block" / number).symlink_to(folder)
    assert self_audit.removable_media(tmp_path) == ["/media/usb"]
    assert self_audit.removable_media(tmp_path / "nothing") is None


@pytest.mark.requirement("R-013")
def test_listening_ports__of_this_account__are_seen() -> None:
    import socket

    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        port = own.getsockname()[1]
        assert port not in self_audit.listening_ports(os.geteuid())
        own.listen()
        assert port in self_audit.listening_ports(os.geteuid())
        assert port not in self_audit.listening_ports(os.geteuid() + 4321)


@pytest.mark.requirement("R-004")
def test_gateway__without_the_cloud__imports_whole() -> None:
    """The program must start where Django, the database driver and the cloud are missing."""
    source = """
import importlib, pkgutil, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"django", "psycopg", "bcl", "bcl_sim", "bcl_cli", "gunicorn"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
import bcl_gateway
names = [module.name for module in pkgutil.iter_modules(bcl_gateway.__path__)]
for name in names:
    importlib.import_module(f"bcl_gateway.{name}")
print(len(names))
"""
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 15


def _can_build_wheels() -> str:
    """Empty if a wheel can be built here without a network, else the reason."""
    try:
        version = importlib.metadata.version("setuptools")
    except importlib.metadata.PackageNotFoundError:
        return "setuptools is not installed"
    old = tuple(int(part) for part in version.split(".")[:2]) < (70, 1)
    if old and importlib.util.find_spec("wheel") is None:
        return f"setuptools {version} needs the package wheel to build"
    return ""


@pytest.mark.requirement("R-004")
@pytest.mark.skipif(bool(_can_build_wheels()), reason=_can_build_wheels() or "can build")
def test_wheel__of_the_gateway__holds_gateway_and_contract_only(tmp_path: Path) -> None:
    project = tmp_path / "packaging" / "bcl-gateway"
    project.mkdir(parents=True)
    source = REPOSITORY / "packaging" / "bcl-gateway" / "pyproject.toml"
    (project / "pyproject.toml").write_bytes(source.read_bytes())
    (tmp_path / "src").symlink_to(REPOSITORY / "src")
    arguments = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(project)]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", *arguments],
        check=True, timeout=180, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("bcl_gateway-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        roots = {name.split("/")[0] for name in names}
        (metadata,) = (archive.read(n).decode() for n in names if n.endswith("METADATA"))
    assert roots == {"bcl_gateway", "bcl_contract", "bcl_gateway-0.1.0.dist-info"}
    assert "bcl_contract/data/refusals.csv" in names
    assert "bcl_contract/linkage/data/v1/columns.csv" in names
    for absent in ("django", "psycopg", "gunicorn", "procrastinate"):
        assert absent not in metadata.lower()
