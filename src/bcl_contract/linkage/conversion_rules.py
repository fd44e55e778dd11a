"""What the specification says about carrying data from one version to the next.

Owns: `<version>/conversion.csv` of the newer version, read in both directions:

    from_version,kind,file_id,name,old,new
    1.0,renamed,J08,contact_telephone_number,telephone_number,    the column's name before
    1.0,default,J01,entry_channel,,1                              value of a column that is new
    1.0,code,,alias_kind,2,3                                      a code list's code before and now

A version without the file changes nothing that needs saying.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bcl_contract.linkage import catalog as catalogs
from bcl_contract.linkage.catalog import Catalog, CatalogFault

KINDS = ("renamed", "default", "code")


@dataclass(frozen=True)
class ConversionRules:
    """Rules from one version to another, newer or older.

    `renamed`: (file id, target column) -> source column. `defaults`: (file id, target column) ->
    value. `codes`: code list -> source code -> target code.
    """

    renamed: Mapping[tuple[str, str], str] = field(default_factory=dict)
    defaults: Mapping[tuple[str, str], str] = field(default_factory=dict)
    codes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def reversed(self) -> ConversionRules:
        """Give the rules back to the older version; defaults have no way back.

        Of several old codes that became one, none is certain: they are left out.
        """
        codes: dict[str, dict[str, str]] = {}
        for name, pairs in self.codes.items():
            back: dict[str, list[str]] = {}
            for old, new in pairs.items():
                back.setdefault(new, []).append(old)
            codes[name] = {new: olds[0] for new, olds in back.items() if len(olds) == 1}
        return ConversionRules(
            renamed={(file_id, old): new for (file_id, new), old in self.renamed.items()},
            codes=codes,
        )


def load_rules(source: str, target: str) -> ConversionRules:
    """Load the rules from version `source` to version `target`, empty ones where nothing is said.

    Raises `UnknownInterfaceVersion`, and `CatalogFault` for a file that can't be.
    """
    catalog = catalogs.current()
    forward = _read(catalog, newer=target, older=source)
    if forward is not None:
        return forward
    backward = _read(catalog, newer=source, older=target)
    return backward.reversed() if backward is not None else ConversionRules()


def _read(catalog: Catalog, *, newer: str, older: str) -> ConversionRules | None:
    """Read what the newer version says about the older one; None when it says nothing."""
    catalog.find(older)
    name = f"{catalog.find(newer).directory}/conversion.csv"
    if not catalog.has(name):
        return None
    renamed: dict[tuple[str, str], str] = {}
    defaults: dict[tuple[str, str], str] = {}
    codes: dict[str, dict[str, str]] = {}
    said = False
    for row in catalog.rows(name):
        if row["kind"] not in KINDS:
            raise CatalogFault(f"{name} の kind「{row['kind']}」は使えません")
        if row["from_version"] != older:
            continue
        said = True
        if row["kind"] == "renamed":
            renamed[row["file_id"], row["name"]] = row["old"]
        elif row["kind"] == "default":
            defaults[row["file_id"], row["name"]] = row["new"]
        else:
            codes.setdefault(row["name"], {})[row["old"]] = row["new"]
    return ConversionRules(renamed, defaults, codes) if said else None
