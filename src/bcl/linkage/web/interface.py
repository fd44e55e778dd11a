"""連携仕様: which versions are accepted until when, who sends which, and the specification itself
(R-036, R-037)."""

from __future__ import annotations

import io
import tempfile
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

from django.http import FileResponse, Http404, HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from bcl.accounts import api as accounts
from bcl.accounts.screens import screen
from bcl.linkage import api as linkage
from bcl.linkage.web.resends import LANES
from bcl.municipalities import api as municipalities
from bcl_contract import clock
from bcl_contract.linkage import catalog
from bcl_contract.linkage.catalog import InterfaceVersion
from bcl_contract.linkage.specification_files import write_specification


@screen("interface.view")
@require_http_methods(["GET"])
def versions(request: HttpRequest) -> HttpResponseBase:
    """The versions with their dates; below them what the own town sends, or every town."""
    code, at = request.principal.municipality_code, clock.now()
    is_agency = code == accounts.AGENCY_CODE
    codes = municipalities.list_municipality_codes() if is_agency else [code]
    context = {
        "versions": [_described(one, at) for one in catalog.current().versions[::-1]],
        "towns": [_town(one, at) for one in codes],
        "is_agency": is_agency,
    }
    return render(request, "linkage/interface.html", context)


def _described(version: InterfaceVersion, at: datetime) -> dict[str, Any]:
    if version.is_accepted(at):
        state, kind = "受付中", "good"
    elif at < version.accepted_from:
        state, kind = "受付前", "plain"
    else:
        state, kind = "受付終了", "bad"
    return {"it": version, "state": state, "kind": kind}


def _town(code: str, at: datetime) -> dict[str, Any]:
    use = linkage.get_interface_use(code, at=at)
    return {
        "town": municipalities.get_municipality(code),
        "lanes": [(dict(LANES).get(lane, lane), sent) for lane, sent in use.by_lane.items()],
        "notices": use.notices,
    }


@screen("interface.view")
@require_http_methods(["GET"])
def specification(request: HttpRequest, version: str) -> HttpResponseBase:
    """The specification of a version as one zip: page, spreadsheet, tables, JSON."""
    try:
        catalog.current().find(version)
    except catalog.UnknownInterfaceVersion:
        raise Http404 from None
    packed = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(packed, "w") as archive:
        for path in write_specification(Path(folder), version):
            archive.write(path, path.name, zipfile.ZIP_DEFLATED)
    packed.seek(0)
    return FileResponse(packed, as_attachment=True, filename=f"interface_{version}.zip")
