"""リカバリ: asking for the town's data back, agreeing as the second person, taking it (R-033)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from bcl.accounts import api as accounts
from bcl.accounts.screens import done, screen
from bcl.foundation import tenancy
from bcl.municipalities import api as municipalities
from bcl.recovery import api as recovery
from bcl.recovery.models import RecoveryExport
from bcl.recovery.web.forms import CodeForm, RequestForm
from bcl_contract import clock
from bcl_contract.linkage.layouts import load_interface
from bcl_contract.refusals import Refusal

STATES = {
    "REQUESTED": ("承認待ち", "warn"),
    "APPROVED": ("作成中", "plain"),
    "BUILT": ("作成済み", "good"),
    "RELEASED": ("受渡し済み", "good"),
    "FAILED": ("失敗", "bad"),
    "EXPIRED": ("期限切れ", "plain"),
}
STEPS = (("申請", "REQUESTED"), ("承認", "APPROVED"), ("作成", "BUILT"), ("受渡し", "RELEASED"))
FILES = {
    **{name: f"{name} {layout.title_ja}" for name, layout in load_interface().files.items()},
    "S02I": "印影の画像",
}
Made = TypeVar("Made")
COMPANIONS = ("recovery.json", "reader.py", "page.py", "signature.py")


def _described(export: RecoveryExport) -> dict[str, Any]:
    title, kind = STATES[export.state]
    return {"it": export, "state": title, "kind": kind}


@screen("recovery.view")
@require_http_methods(["GET"])
def listing(request: HttpRequest) -> HttpResponseBase:
    """The newest requests of the own town."""
    principal = request.principal
    exports = recovery.list_exports(principal.municipality_code)
    context = {
        "rows": [_described(one) for one in exports],
        "may_request": "recovery.request" in principal.permissions,
    }
    return render(request, "recovery/listing.html", context)


@screen("recovery.request")
@require_http_methods(["GET", "POST"])
def add(request: HttpRequest) -> HttpResponseBase:
    """Ask for a recovery package; counts when a second person has agreed."""
    principal = request.principal
    receivers = municipalities.list_recovery_receivers(principal.municipality_code)
    form = RequestForm(request.POST or None, receivers=[one.id for one in receivers])
    if request.method == "GET" or not form.is_valid():
        status = 200 if request.method == "GET" else 422
        return _request_page(request, form, receivers=len(receivers), status=status)
    wish = form.wish(clock.now())
    made = _confirmed(
        request,
        form.cleaned_data["code"],
        "request_export",
        recovery.request_content(**wish),
        lambda signed: recovery.request_export(
            principal.municipality_code, **wish, signed=signed, at=clock.now()
        ),
    )
    if isinstance(made, Refusal):
        return _request_page(
            request,
            form,
            receivers=len(receivers),
            status=made.text.http_status,
            refusal=made,
        )
    return done("recovery-export", "recovery-requested", export_id=made.pk)


def _request_page(
    request: HttpRequest,
    form: RequestForm,
    *,
    receivers: int,
    status: int,
    refusal: Refusal | None = None,
) -> HttpResponse:
    context = {"form": form, "receivers": receivers, "refusal": refusal}
    return render(request, "recovery/request.html", context, status=status)


@screen("recovery.view")
@require_http_methods(["GET"])
def detail(request: HttpRequest, export_id: int) -> HttpResponseBase:
    """One request: who asked why, how far it is, what may be done."""
    return _detail(request, export_id)


def _detail(
    request: HttpRequest, export_id: int, refusal: Refusal | None = None
) -> HttpResponse:
    principal = request.principal
    export = _get(request, export_id)
    with tenancy.scope(principal.municipality_code):
        reason = recovery.read_reason(export)
    order = [state for _, state in STEPS]
    at_step = order.index(export.state) if export.state in order else -1
    waits = export.state == "REQUESTED" and export.requested_by != principal.actor.id
    context = {
        **_described(export),
        "reason": reason,
        "steps": [
            (title, "done" if place <= at_step else "now" if place == at_step + 1 else "")
            for place, (title, _) in enumerate(STEPS)
        ],
        "counts": [(FILES[one["file_id"]], one["rows"]) for one in export.counts],
        "is_moving": export.state == "APPROVED",
        "is_own": export.requested_by == principal.actor.id,
        "may_approve": waits and "recovery.approve" in principal.permissions,
        "may_take": export.state in ("BUILT", "RELEASED")
        and "recovery.take" in principal.permissions,
        "companions": COMPANIONS,
        "form": CodeForm(),
        "refusal": refusal,
    }
    status = 200 if refusal is None else refusal.text.http_status
    return render(request, "recovery/export.html", context, status=status)


@screen("recovery.approve")
@require_http_methods(["POST"])
def approve(request: HttpRequest, export_id: int) -> HttpResponseBase:
    """The second person agrees to exactly the request that stood on the page."""
    export = _get(request, export_id)
    form = CodeForm(request.POST)
    if not form.is_valid():
        return _detail(request, export_id, Refusal("CONSOLE_NOT_CONFIRMED"))
    made = _confirmed(
        request,
        form.cleaned_data["code"],
        "approve_export",
        recovery.approval_content(export.pk, form.cleaned_data["stamp"]),
        lambda signed: recovery.approve_export(
            export.municipality_code, export_id, signed=signed, at=clock.now()
        ),
    )
    if isinstance(made, Refusal):
        return _detail(request, export_id, made)
    return done("recovery-export", "recovery-approved", export_id=export_id)


@screen("recovery.take")
@require_http_methods(["POST"])
def take(request: HttpRequest, export_id: int) -> HttpResponseBase:
    """Hand out the package: encrypted to the receiver, and on record each time."""
    export = _get(request, export_id)
    form = CodeForm(request.POST)
    if not form.is_valid():
        return _detail(request, export_id, Refusal("CONSOLE_NOT_CONFIRMED"))
    folder = _confirmed(
        request,
        form.cleaned_data["code"],
        "release_export",
        recovery.release_content(export.pk, form.cleaned_data["stamp"]),
        lambda signed: recovery.take_export(
            export.municipality_code, export_id, signed=signed, at=clock.now()
        ),
    )
    if isinstance(folder, Refusal):
        return _detail(request, export_id, folder)
    package = recovery.package_path(export)
    return FileResponse(package.open("rb"), as_attachment=True, filename=package.name)


@screen("recovery.take")
@require_http_methods(["GET"])
def companion(request: HttpRequest, export_id: int, name: str) -> HttpResponseBase:
    """The description and the reading programs that lie beside a package: nothing personal."""
    path = recovery.package_path(_get(request, export_id)).parent / name
    if name not in COMPANIONS or not path.is_file():
        raise Http404
    return FileResponse(path.open("rb"), as_attachment=True, filename=name)


def _get(request: HttpRequest, export_id: int) -> RecoveryExport:
    if export_id >= 2**63:
        raise Http404
    export = recovery.find_export(request.principal.municipality_code, export_id)
    if export is None:
        raise Http404
    return export


def _confirmed(
    request: HttpRequest,
    code: str,
    act: str,
    content: dict[str, str | int],
    do: Callable[[accounts.ConfirmedAct], Made | Refusal],
) -> Made | Refusal:
    """Do an act with the second factor given once more."""
    signed = accounts.confirm_act(
        request.principal, code, act=act, content=content, unix_time=time.time(), at=clock.now()
    )
    return signed if isinstance(signed, Refusal) else do(signed)
