"""What a person decides about a held transmission: ask, release, reject (R-059)."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from django import forms
from django.http import Http404, HttpRequest, HttpResponseBase
from django.views.decorators.http import require_http_methods

from bcl.accounts.screens import done, screen
from bcl.foundation import tenancy
from bcl.linkage import api as linkage
from bcl.linkage.models import Transmission
from bcl.linkage.web import reads
from bcl.linkage.web.views import show_transmission
from bcl_contract import clock
from bcl_contract.refusals import Refusal

Decide = Callable[..., Transmission | Refusal]


class DecisionForm(forms.Form):
    """The stamp of what the person saw, and that it was checked."""

    stamp = forms.CharField(max_length=32)
    checked = forms.BooleanField()


@screen("linkage.ask_release")
@require_http_methods(["POST"])
def ask_release(request: HttpRequest, transmission_id: uuid.UUID) -> HttpResponseBase:
    """The first of two: this transmission was checked and may be released."""
    return _decide(request, transmission_id, linkage.ask_release, "transmission-release-asked")


@screen("linkage.release")
@require_http_methods(["POST"])
def release(request: HttpRequest, transmission_id: uuid.UUID) -> HttpResponseBase:
    """Confirm that a held transmission is right."""
    return _decide(request, transmission_id, linkage.release_held, "transmission-released")


@screen("linkage.release")
@require_http_methods(["POST"])
def reject(request: HttpRequest, transmission_id: uuid.UUID) -> HttpResponseBase:
    """Refuse a held transmission for good."""
    return _decide(request, transmission_id, linkage.reject_transmission, "transmission-rejected")


def _decide(
    request: HttpRequest, transmission_id: uuid.UUID, decide: Decide, said: str
) -> HttpResponseBase:
    code = request.principal.municipality_code
    form = DecisionForm(request.POST)
    with tenancy.scope(code):
        one = reads.find(transmission_id)
    if one is None:
        raise Http404
    if not form.is_valid():
        return show_transmission(request, transmission_id, Refusal("CONSOLE_NOT_CONFIRMED"))
    if form.cleaned_data["stamp"] != reads.stamp(one):
        return show_transmission(request, transmission_id, Refusal("CONSOLE_CHANGED_MEANWHILE"))
    decided = decide(code, transmission_id, by=request.principal.actor, at=clock.now())
    if isinstance(decided, Refusal):
        return show_transmission(request, transmission_id, decided)
    if said == "transmission-released" and decided.released_at is None:
        said = "transmission-release-asked"  # a doubt for two persons, and this was the first
    return done("transmission", said, transmission_id=transmission_id)
