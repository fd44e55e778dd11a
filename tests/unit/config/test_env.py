"""Settings: typed, read once, refused with one sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bcl.config import env


def test_read__of_an_empty_environment__gives_the_demo_world():
    settings = env.read({"HOME": "/home/clerk"})
    assert settings.environment == "demo" and settings.world == "demo"
    assert settings.key_file == settings.state_dir / "keys" / "provider.key"
    assert not settings.uses_external_cluster


def test_state_dir__as_another_user__lies_in_the_users_state_directory(monkeypatch):
    monkeypatch.setattr(env.os, "geteuid", lambda: 1000)
    assert env.default_state_dir("demo", {"XDG_STATE_HOME": "/x"}) == Path("/x/bcl/demo")
    monkeypatch.setattr(env.os, "geteuid", lambda: 0)
    assert env.default_state_dir("demo", {}) == Path("/var/lib/bcl/demo")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BCL_ENVIRONMENT", "prod"),
        ("BCL_ROLE", "root"),
        ("BCL_WORLD", "../x"),
        ("BCL_WORLD", "デモ"),
        ("BCL_STATE_DIR", "relative/place"),
        ("BCL_WIRE_PORT", "0"),
        ("BCL_WIRE_PORT", "65536"),
        ("BCL_WIRE_PORT", "80a"),
        ("BCL_WIRE_THREADS", "0"),
        ("BCL_WORKER_CONCURRENCY", "-1"),
        ("BCL_MAX_WAL_SIZE_MB", "1e3"),
        ("BCL_CLOCK_OFFSET_SECONDS", "soon"),
        ("BCL_DATABASE_ROLE", "superuser"),
        ("BCL_LOG_LEVEL", "LOUD"),
    ],
)
def test_read__of_a_bad_value__names_the_variable_in_one_sentence(name, value):
    with pytest.raises(env.SettingsError) as refused:
        env.read({name: value})
    text = str(refused.value)
    assert name in text and text.endswith("。") and text.count("。") == 1


def test_read__of_an_external_cluster__needs_the_app_url():
    url = "postgresql://bcl_owner:secret@db/bcl"
    with pytest.raises(env.SettingsError, match="BCL_DATABASE_URL_APP"):
        env.read({"BCL_DATABASE_URL_OWNER": url})
    settings = env.read({"BCL_DATABASE_URL_OWNER": url, "BCL_DATABASE_URL_APP": url})
    assert settings.uses_external_cluster
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "accepted"),
    [
        ("postgresql://u:p@db/bcl?sslmode=verify-full", True),
        ("postgresql://u:p@%2Frun%2Fpostgresql/bcl", True),
        ("postgresql://u:p@db/bcl", False),
        ("postgresql://u:p@db/bcl?sslmode=require", False),
        ("no url at all", False),
    ],
)
def test_read__of_a_production_database__wants_verified_tls(url, accepted):
    environ = {"BCL_DATABASE_URL_APP": url, "BCL_ENVIRONMENT": "production"}
    if accepted:
        assert env.read(environ).uses_external_cluster
    else:
        with pytest.raises(env.SettingsError, match="verify-full") as refused:
            env.read(environ)
        assert url not in str(refused.value)


def test_variables__all__are_explained_in_the_readme():
    source = Path(env.__file__)
    names = set(re.findall(r"BCL_[A-Z_]*[A-Z]", source.read_text(encoding="utf-8")))
    names -= {"BCL_DATABASE_URL"}  # the common part of three names
    readme = (source.parent / "README.md").read_text(encoding="utf-8")
    assert names - set(re.findall(r"BCL_[A-Z_]*[A-Z]", readme)) == set()


@pytest.mark.requirement("R-263")
def test_read__of_a_shifted_clock_in_production__is_refused():
    shifted = {"BCL_CLOCK_OFFSET_SECONDS": "60"}
    assert env.read(shifted).clock_offset_seconds == 60
    with pytest.raises(env.SettingsError, match="BCL_CLOCK_OFFSET_SECONDS"):
        env.read(shifted | {"BCL_ENVIRONMENT": "production"})
