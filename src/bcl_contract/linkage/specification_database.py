"""The second family of specifications (DB仕様書 連携DB編): the same tables as a database has them.

For vendors who collect the data in a database of their own before they write the files. One
SQL file with tables, keys, checks and Japanese comments; nothing in it is product data.
"""

from __future__ import annotations

from bcl_contract.linkage import specification as words
from bcl_contract.linkage.catalog import InterfaceVersion
from bcl_contract.linkage.layouts import Column, Interface, Layout

_SQL_TYPES = {"D": "date", "T": "time(0)", "F": "char(1)", "K": "text", "J": "text"}
"""Names and addresses are text: their length in the interface doesn't count variation selectors."""


def write_database_sql(interface: Interface, version: InterfaceVersion) -> str:
    """Give PostgreSQL statements that make one table a file in a schema of their own."""
    schema = f"linkage_{version.directory}"
    dates = "".join(f"-- {label}: {text}\n" for label, text in words.date_rows(version))
    return (
        f"-- BCL DB仕様書（連携DB編） 第{version.version}版\n{dates}"
        "-- 住民情報システムの側で連携データをためる表です。表・列の名は連携ファイルの英名です。\n"
        f"CREATE SCHEMA {schema};\n\n"
        + "\n".join(_table(schema, layout) for layout in interface.files.values())
    )


def _table(schema: str, layout: Layout) -> str:
    lines = [f"    {_column(column)}" for column in layout.columns]
    keys = ", ".join(column.name for column in layout.key_columns)
    lines.append(f"    PRIMARY KEY ({keys})")
    name = f"{schema}.{layout.name}"
    comments = [f"COMMENT ON TABLE {name} IS {_quoted(f'{layout.file_id} {layout.title_ja}')};"]
    comments += [
        f"COMMENT ON COLUMN {name}.{column.name} IS {_quoted(column.title_ja)};"
        for column in layout.columns
    ]
    return f"CREATE TABLE {name} (\n" + ",\n".join(lines) + "\n);\n" + "\n".join(comments) + "\n"


def _column(column: Column) -> str:
    if column.type == "I":
        kind = f"numeric({column.length})"
    else:
        kind = _SQL_TYPES.get(column.type, f"varchar({column.length})")
    needed = " NOT NULL" if column.required == "Y" or column.key_order is not None else ""
    check = f" CHECK ({column.name} IN ('0', '1'))" if column.type == "F" else ""
    return f"{column.name} {kind}{needed}{check}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
