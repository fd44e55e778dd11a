"""Asking the town hall's gateway to send again, on the 連携画面 (R-022, R-059)."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponseBase
from django.views.decorators.http import require_http_methods

from bcl.accounts.screens import done, refuse, screen
from bcl.linkage import api as linkage
from bcl_contract import clock
from bcl_contract.refusals import Refusal

LANES = (("main", "通常"), ("urgent", "急ぎ"))
REASONS = (
    ("NOT_RECEIVED", "届いていない"),
    ("DATA_WRONG", "内容に誤りがあった"),
    ("RECONCILE_DIFFERS", "照合で違いが見つかった"),
    ("OTHER", "その他"),
)


class ResendForm(forms.Form):
    """Which transmission is wanted again; without a number a full file."""

    lane = forms.ChoiceField(label="系列", choices=LANES)
    sequence = forms.IntegerField(
        label="通番",
        min_value=1,
        max_value=2**53,
        required=False,
        help_text="空けておくと、全件データの送り直しを依頼します。",
        widget=forms.TextInput(attrs={"inputmode": "numeric", "class": "short"}),
    )
    reason_code = forms.ChoiceField(label="理由", choices=REASONS)


def context_of(request: HttpRequest) -> dict[str, Any]:
    """What the overview shows about re-sending."""
    asked = linkage.list_resend_requests(request.principal.municipality_code)
    return {
        "resends": [
            {"it": one, "lane": dict(LANES)[one.lane], "reason": _reason(one.reason_code)}
            for one in asked
        ],
        "may_resend": "linkage.request_resend" in request.principal.permissions,
        "resend_form": ResendForm(),
    }


@screen("linkage.request_resend")
@require_http_methods(["POST"])
def ask(request: HttpRequest) -> HttpResponseBase:
    """Ask for a transmission, or a full file, again."""
    form = ResendForm(request.POST)
    if not form.is_valid():
        return refuse(request, Refusal("CONSOLE_INPUT_WRONG"))
    made = linkage.request_resend(
        request.principal.municipality_code,
        lane=form.cleaned_data["lane"],
        sequence=form.cleaned_data["sequence"],
        reason_code=form.cleaned_data["reason_code"],
        by=request.principal.actor,
        at=clock.now(),
    )
    if isinstance(made, Refusal):
        return refuse(request, made)
    return done("linkage", "resend-asked")


@screen("linkage.request_resend")
@require_http_methods(["POST"])
def withdraw(request: HttpRequest, request_id: uuid.UUID) -> HttpResponseBase:
    """Take a wish back. One that is gone already is as good as taken back."""
    linkage.end_resend(
        request.principal.municipality_code,
        str(request_id),
        by=request.principal.actor,
        at=clock.now(),
    )
    return done("linkage", "resend-withdrawn")


def _reason(code: str) -> str:
    return dict(REASONS).get(code, "BCL が見つけた不足")
