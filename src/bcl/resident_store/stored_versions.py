"""Which version of the interface brought a stored line, and how it reads in another (R-036).

A page holds lines of one load, a load those of one version. While only one version exists
nothing is asked of the database.
"""

from __future__ import annotations

from bcl.resident_store.models import Load
from bcl_contract.linkage.layouts import supported_versions
from bcl_contract.linkage.line_conversion import LineConversion, line_conversion


class StoredVersions:
    """The versions of a town's loads, for reading them all in the terms of one.

    Needs the town's open scope. What a load that isn't recorded yet brought is taken to be in
    the target version.
    """

    def __init__(self, municipality_code: str, *, target: str) -> None:
        self._town, self._target = municipality_code, target
        self._others: dict[int, str] | None = {} if len(supported_versions()) == 1 else None

    def conversion(self, file_id: str, load_number: int) -> LineConversion | None:
        """How the lines of a page of this load are to be read; None: as they stand."""
        if self._others is None:
            loads = Load.objects.filter(municipality_code=self._town)
            self._others = dict(
                loads.exclude(interface_version=self._target).values_list(
                    "load_number", "interface_version"
                )
            )
        version = self._others.get(load_number)
        return None if version is None else line_conversion(version, self._target, file_id)
