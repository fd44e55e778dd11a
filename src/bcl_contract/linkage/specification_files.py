"""All published forms of one version of the specification, written into one folder."""

from __future__ import annotations

from pathlib import Path

from bcl_contract.linkage import catalog as catalogs
from bcl_contract.linkage.changes import Change, compare
from bcl_contract.linkage.layouts import load_interface
from bcl_contract.linkage.specification import write_specification_json
from bcl_contract.linkage.specification_database import write_database_sql
from bcl_contract.linkage.specification_page import write_page
from bcl_contract.linkage.specification_sheet import write_sheet


def write_specification(folder: Path, version: str) -> list[Path]:
    """Write page, spreadsheet, JSON and database tables; gives the paths.

    What changed since the version before is part of page and spreadsheet.
    """
    catalog = catalogs.current()
    published, before = catalog.find(version), catalog.predecessor(version)
    interface = load_interface(version)
    changes: list[Change] = compare(before.version, version) if before else []
    folder.mkdir(parents=True, exist_ok=True)
    page, sheet, machine, database = (
        folder / f"{name}-{version}.{ending}"
        for name, ending in (
            ("interface", "html"), ("interface", "xlsx"), ("interface", "json"),
            ("database", "sql"),
        )
    )  # fmt: skip
    made = write_page(
        interface, published, changes=changes, predecessor=before.version if before else ""
    )
    page.write_text(made, encoding="utf-8")
    write_sheet(sheet, interface, published, changes=changes)
    machine.write_bytes(write_specification_json(interface))
    database.write_text(write_database_sql(interface, published), encoding="utf-8")
    return [page, sheet, machine, database]
