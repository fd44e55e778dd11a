"""The load of a small town (50,000 rows) against what a Django application does by itself.

Ours is what `load` measures: checked, encrypted, searchable. Peers, in clear, same columns, same
cluster: `bulk_create` = the csv module and Django's `bulk_create` in batches of 1,000 into a table
without indexes but its primary key; `django_import_export` = django-import-export with use_bulk
and skip_diff, finding existing rows by an index on the record key as ours does, over the first
2,000 rows only and counted by the row, since the whole file would take it minutes.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import store_runs

_TABLE = "django_j01"
_BATCH = 1000
_SAMPLE = 2000
_KEY = ("addressee_number", "history_number", "history_branch_number")


def run(rows: int, repeats: int) -> dict[str, Any]:
    """Measure; gives the result line of `bcl bench`."""
    ours: list[dict[str, Any]] = []
    peers: dict[str, list[dict[str, Any]]] = {"bulk_create": [], "django_import_export": []}
    with store_runs.world() as state:
        data = store_runs.child(state, "generate", str(state / "data"), str(rows))
        path = state / "data" / "full.csv"
        for _ in range(repeats):
            for peer, turns in peers.items():
                with store_runs.superuser(state) as db:
                    store_runs.make_plain_table(db, _TABLE)
                    db.execute(f"ALTER TABLE {_TABLE} ADD id bigserial PRIMARY KEY")
                    if peer == "django_import_export":
                        db.execute(f"CREATE UNIQUE INDEX ON {_TABLE} ({', '.join(_KEY)})")
                    db.execute(f"GRANT ALL ON {_TABLE}, {_TABLE}_id_seq TO bcl_app")
                    db.execute("CHECKPOINT")
                turns.append(store_runs.child(state, "--step", peer, str(path), program=__file__))
            store_runs.empty_store(state)
            ours.append(store_runs.child(state, "load", str(path), "1"))
    return {"name": "small_load", "rows": data["rows"], **store_runs.compared(ours, peers)}


# -- steps -----------------------------------------------------------------------------------------


def _model() -> Any:
    """A model of the table, its columns text."""
    import django

    django.setup()
    from django.db import models

    from bcl_contract.linkage.layouts import load_interface

    columns = {name: models.TextField() for name in load_interface().files["J01"].names}
    meta = type("Meta", (), {"app_label": "bench", "db_table": _TABLE, "managed": False})
    return type("PlainResident", (models.Model,), {**columns, "Meta": meta, "__module__": __name__})


def bulk_create(path: str) -> dict[str, Any]:
    """The whole file by the csv module and `bulk_create`, one transaction."""
    from django.db import transaction

    model = _model()
    with store_runs.server_cost(Path(os.environ["BCL_STATE_DIR"])) as cost:
        with transaction.atomic(), open(path, encoding="utf-8", newline="") as source:
            reader = csv.reader(source)
            next(reader)
            names = [field.attname for field in model._meta.fields if field.attname != "id"]
            while batch := list(itertools.islice(reader, _BATCH)):
                model.objects.bulk_create(
                    model(**dict(zip(names, row, strict=True))) for row in batch
                )
    return cost.measured()


def django_import_export(path: str) -> dict[str, Any]:
    """The first rows by django-import-export, counted by the row."""
    from import_export.resources import modelresource_factory
    from tablib import Dataset

    model = _model()
    with open(path, encoding="utf-8", newline="") as source:
        _, *lines = source.readlines()
    sample = lines[:_SAMPLE]
    names = [field.attname for field in model._meta.fields if field.attname != "id"]
    resource = modelresource_factory(
        model,
        meta_options={
            "use_bulk": True,
            "batch_size": _BATCH,
            "skip_diff": True,
            "use_transactions": True,
            "exclude": ("id",),
            "import_id_fields": _KEY,
        },
    )()
    with store_runs.server_cost(Path(os.environ["BCL_STATE_DIR"])) as cost:
        dataset = Dataset().load(",".join(names) + "\r\n" + "".join(sample), format="csv")
        done = resource.import_data(dataset, raise_errors=True)
    assert done.totals["new"] == len(sample), done.totals
    scale = len(lines) / len(sample)
    return {
        name: value if name == "peak_memory_mb" else value * scale
        for name, value in cost.measured().items()
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        steps = {"bulk_create": bulk_create, "django_import_export": django_import_export}
        print(json.dumps(steps[sys.argv[2]](*sys.argv[3:])))
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("--rows", type=int, default=50_000)
        parser.add_argument("--repeats", type=int, default=3)
        parser.add_argument("--json", action="store_true")
        chosen = parser.parse_args()
        print(json.dumps(run(chosen.rows, chosen.repeats)))
