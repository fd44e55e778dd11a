"""中間DB参照: looking a person up, with a purpose, and every person shown on record (R-056, R-172).

Everything comes by POST: no value of a register, and no record's number, stands in a URL. A page
that is asked for without a purpose says so (400).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from bcl.accounts import api as accounts
from bcl.accounts.screens import refuse, screen
from bcl.foundation import audit, tenancy
from bcl.resident_store import api as store
from bcl.resident_store.disclosure import Sight
from bcl.resident_store.web import lookup
from bcl.resident_store.web.forms import PersonForm, PurposeForm, RevealForm, SearchForm
from bcl_contract import clock
from bcl_contract.refusals import Refusal

REVEAL = "residents.reveal_address"
CRITERIA = ("name", "kana", "born_on", "addressee_number", "address")


@screen("residents.view")
@require_http_methods(["GET", "POST"])
def search(request: HttpRequest) -> HttpResponseBase:
    """The search form, and below it whom it found."""
    if request.method == "GET":
        return _search_page(request, SearchForm())
    form = SearchForm(request.POST)
    if not form.is_valid():
        return _search_page(request, form, status=422)
    wanted = _wanted(form.cleaned_data)
    code = request.principal.municipality_code
    waiting = accounts.judge_looks(request.principal, at=clock.now())
    found = waiting or lookup.search(code, wanted)
    if isinstance(found, Refusal):
        return _search_page(request, form, refusal=found, status=found.text.http_status)
    listed, more = found
    _record(request, form, "search_residents", listed, fields="+".join(sorted(wanted)))
    return _search_page(request, form, listed=listed, more=more)


def _wanted(given: dict[str, Any]) -> dict[str, str]:
    """The filled fields, under the names the store searches by."""
    names = {"name": "name", "kana": "kana", "addressee_number": "addressee_number"}
    wanted = {kind: given[name] for name, kind in names.items() if given[name]}
    if given["address"]:
        wanted["address"] = given["address"]
    if given["born_on"]:
        wanted["birth_date"] = given["born_on"].isoformat()
    return wanted


def _search_page(
    request: HttpRequest, form: SearchForm, *, status: int = 200, **more: Any
) -> HttpResponse:
    context = {
        "form": form,
        "most": lookup.MOST_LISTED,
        "wanted": {name: form.data.get(name, "") for name in CRITERIA},
        "may_export": "exports.request" in request.principal.permissions,
        **more,
    }
    return render(request, "resident_store/search.html", context, status=status)


@screen("residents.view")
@require_http_methods(["GET", "POST"])
def person(request: HttpRequest) -> HttpResponseBase:
    """One person: the record chosen, the other files, the history."""
    form = PersonForm(request.POST)
    if request.method == "GET" or not form.is_valid():
        return refuse(request, Refusal("CONSOLE_PURPOSE_MISSING"))
    return _person_page(request, form, act="view_resident")


def _summary(
    code: str, shown: store.RecordVersion, found: lookup.Person
) -> lookup.Listed | None:
    """Who this is in a few lines; for a protected person the sections alone decide what is told."""
    return None if found.is_protected else lookup.list_persons(code, [shown])[0]


@screen(REVEAL)
@require_http_methods(["GET", "POST"])
def reveal(request: HttpRequest) -> HttpResponseBase:
    """The same page with the places of a protected person: with a fresh code, on record."""
    form = RevealForm(request.POST)
    if request.method == "GET" or not form.is_valid():
        return refuse(request, Refusal("CONSOLE_PURPOSE_MISSING"))
    confirmed = accounts.confirm_act(
        request.principal,
        form.cleaned_data["code"],
        act="reveal_address",
        content={"record": form.cleaned_data["record"], "purpose": form.cleaned_data["purpose"]},
        unix_time=time.time(),
        at=clock.now(),
    )
    if isinstance(confirmed, Refusal):
        return _person_page(request, form, act="view_resident", refusal=confirmed)
    return _person_page(request, form, act="reveal_address")


def _person_page(
    request: HttpRequest, form: PersonForm, *, act: str, refusal: Refusal | None = None
) -> HttpResponse:
    principal = request.principal
    waiting = accounts.judge_looks(principal, at=clock.now())
    if waiting is not None:
        return refuse(request, waiting)
    shown = lookup.find_resident(principal.municipality_code, form.cleaned_data["record"])
    if shown is None:
        raise Http404
    hides = lookup.is_protected(principal.municipality_code, shown) and act != "reveal_address"
    sight = Sight(principal.permissions, hides_places=hides)
    found = lookup.read_person(principal.municipality_code, shown, sight)
    _record(request, form, act, [found])
    context = {
        "it": found,
        "summary": _summary(principal.municipality_code, shown, found),
        "record": shown.id,
        "is_over": shown.until_load is not None,
        "hides_places": hides,
        "may_reveal": hides and REVEAL in principal.permissions,
        **_purpose_of(form),
        "refusal": refusal,
    }
    status = 200 if refusal is None else refusal.text.http_status
    return render(request, "resident_store/person.html", context, status=status)


@screen("residents.view")
@require_http_methods(["GET", "POST"])
def household(request: HttpRequest) -> HttpResponseBase:
    """Everybody who stands in the household of the person shown."""
    form = PersonForm(request.POST)
    if request.method == "GET" or not form.is_valid():
        return refuse(request, Refusal("CONSOLE_PURPOSE_MISSING"))
    waiting = accounts.judge_looks(request.principal, at=clock.now())
    if waiting is not None:
        return refuse(request, waiting)
    code = request.principal.municipality_code
    shown = lookup.find_resident(code, form.cleaned_data["record"])
    if shown is None:
        raise Http404
    listed = lookup.list_household(code, shown)
    _record(request, form, "view_household", listed)
    context = {"listed": listed, "record": shown.id, **_purpose_of(form)}
    return render(request, "resident_store/household.html", context)


def _purpose_of(form: PurposeForm) -> dict[str, str]:
    chosen = form.cleaned_data["purpose"]
    return {
        "purpose": chosen,
        "purpose_ja": dict(form.fields["purpose"].choices)[chosen],  # type: ignore[attr-defined]
        "reference": form.cleaned_data["reference"],
    }


def _record(
    request: HttpRequest,
    form: PurposeForm,
    act: str,
    persons: Iterable[lookup.Listed | lookup.Person],
    **more: str,
) -> None:
    """One row for the look, and one for every person it showed (R-172)."""
    by, at = request.principal.actor, clock.now()
    seen = [one.addressee_number for one in persons]
    facts = {
        "purpose": form.cleaned_data["purpose"],
        "terminal": request.principal.terminal.id,
        **({"reference": form.cleaned_data["reference"]} if form.cleaned_data["reference"] else {}),
        **more,
    }
    with tenancy.scope(request.principal.municipality_code):
        audit.record(
            act=act, by=by, at=at, subjects=[number.encode() for number in seen], detail=facts
        )
        accounts.count_looks(request.principal, persons=len(seen), at=at)
