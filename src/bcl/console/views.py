"""Home, the page of components, and the pages of faults."""

from __future__ import annotations

import sys

from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from bcl.accounts import api as accounts
from bcl.accounts.screens import screen
from bcl.console import attention
from bcl.foundation import keys
from bcl_contract import clock
from bcl_contract.refusals import Refusal

# As the command line says them: none of these is for a programmer to find out.
_KEY_REFUSALS: dict[type[keys.KeyFault], str] = {
    keys.KeyErased: "KEY_ERASED",
    keys.KeyLost: "KEY_LOST",
    keys.KeyProviderAway: "KEY_PROVIDER_AWAY",
}


@screen("home.view")
@require_http_methods(["GET"])
def home(request: HttpRequest) -> HttpResponseBase:
    """What needs attention today: the services, the notices, what waits for a person."""
    principal, at = request.principal, clock.now()
    cards = attention.cards_for(principal, at)
    context = {
        "roles": [accounts.ROLE_NAMES_JA[role] for role in sorted(principal.roles)],
        "intake": attention.intake_for(principal, at),
        "terminal_days_left": attention.terminal_days_left(
            request.client_certificate_der,  # type: ignore[attr-defined]
            at,
        ),
        "services": attention.services_for(principal, at),
        "notices": [
            (each, Refusal(each.code).text) for each in attention.notices_for(principal)
        ],
        "urgent": [card for card in cards if card.is_urgent],
        "calm": [card for card in cards if not card.is_urgent],
        "today": at.astimezone(clock.JST),
    }
    return render(request, "console/home.html", context)


class _Sample(forms.Form):
    """One field of each kind, for the page of components."""

    name = forms.CharField(label="一行の入力", help_text="説明の文。")
    wrong = forms.CharField(label="まちがいのある入力")
    kind = forms.ChoiceField(label="選択", choices=[("a", "一つ目"), ("b", "二つ目")])
    many = forms.MultipleChoiceField(
        label="いくつでも",
        choices=[("a", "一つ目"), ("b", "二つ目")],
        widget=forms.CheckboxSelectMultiple,
    )


@screen("home.view")
@require_http_methods(["GET"])
def components(request: HttpRequest) -> HttpResponseBase:
    """Every component in every state, as the pages use it."""
    form = _Sample({"name": "入力した文字", "kind": "a", "many": ["a"]})
    form.is_valid()
    context = {"form": form, "sample_refusal": Refusal("LINKAGE_UPLOAD_STORAGE_FULL")}
    return render(request, "console/components.html", context)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _refused(request, "WIRE_BAD_REQUEST")


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form from another site or an old page; `reason` is for developers and not shown."""
    return _refused(request, "CONSOLE_FORM_STALE")


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _refused(request, "CONSOLE_UNKNOWN_PAGE")


def server_fault(request: HttpRequest) -> HttpResponse:
    """A fault of the program; of the town's keys, what has happened and who brings them back."""
    fault = sys.exc_info()[1]  # Django calls this while it handles the exception
    found = (code for kind, code in _KEY_REFUSALS.items() if isinstance(fault, kind))
    return _refused(request, next(found, "WIRE_FAULT"))


def _refused(request: HttpRequest, code: str) -> HttpResponse:
    refusal = Refusal(code)
    context = {"refusal": refusal}
    return render(request, "look/refused.html", context, status=refusal.text.http_status)
