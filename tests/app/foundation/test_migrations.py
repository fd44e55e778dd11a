"""Migrations: complete, linear, without models, run by the owner and safe to run again."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from bcl.foundation import environment_guard, exempt_tables, migrate
from bcl.foundation.migration_operations import exempt_table, tenant_table
from bcl.foundation.models import ClusterInfo

OURS = sorted(
    app.label
    for app in apps.get_app_configs()
    if app.name.startswith("bcl.") and (Path(app.path) / "migrations").is_dir()
)


def test_migrations__compared_with_the_models__are_complete(db):
    call_command("makemigrations", *OURS, check=True, dry_run=True, verbosity=0, skip_checks=True)


@pytest.mark.parametrize("label", OURS)
def test_migrations__of_an_app__form_one_line(db, label):
    loader = MigrationLoader(connection)
    assert len(loader.graph.leaf_nodes(label)) == 1
    mine = [node for node in loader.graph.nodes if node[0] == label]
    for node in mine:
        children = [c for c in loader.graph.node_map[node].children if c.key[0] == label]
        assert len(children) <= 1


@pytest.mark.parametrize("label", OURS)
def test_migrations__of_an_app__import_no_models(label):
    """A model changes later; an old migration must go on meaning what it meant."""
    folder = Path(apps.get_app_config(label).path) / "migrations"
    for path in folder.glob("0*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").endswith("models") or (node.module == "django.db"), (
                    path.name
                )


def test_tables__all__belong_to_the_owner(superuser_connection, db):
    rows = superuser_connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tableowner <> 'bcl_owner'"
    ).fetchall()
    assert rows == []


@pytest.mark.django_db(transaction=True)
def test_migrate__run_again__changes_nothing(owner_connection):
    query = "SELECT count(*), max(id) FROM django_migrations"
    before = owner_connection.execute(query).fetchone()
    migrate.run()
    assert owner_connection.execute(query).fetchone() == before


def test_migrate__with_settings_of_another_environment__fails(cluster):
    import os

    with pytest.raises(migrate.MigrationFault, match="WrongEnvironment"):
        migrate.run(os.environ | {"BCL_ENVIRONMENT": "production"})


def test_environment__of_settings_and_cluster__must_match(db, settings):
    from dataclasses import replace

    assert ClusterInfo.objects.get().environment == "test"
    environment_guard.assert_environment_matches()
    settings.BCL = replace(settings.BCL, environment="production")
    with pytest.raises(environment_guard.WrongEnvironment):
        environment_guard.assert_environment_matches()


@pytest.mark.parametrize("name", ["x; DROP TABLE y", 'a"b', "Upper", "", "1st"])
def test_operation__with_a_name_that_is_none__raises(name):
    with pytest.raises(ValueError, match="name"):
        tenant_table(name)


def test_operation__exempting_an_unlisted_table__raises():
    assert "linkage_transmission" not in exempt_tables.EXEMPT_TABLES
    with pytest.raises(ValueError, match="not listed"):
        exempt_table("linkage_transmission")
