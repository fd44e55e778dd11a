"""Doing an act with the second factor given once more."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from django.http import HttpRequest

from bcl.accounts import api as accounts
from bcl.oversight.web.forms import CodeForm
from bcl_contract import clock
from bcl_contract.refusals import Refusal

Made = TypeVar("Made")


def confirmed(
    request: HttpRequest,
    act: str,
    content: Mapping[str, str | int],
    do: Callable[[accounts.ConfirmedAct], Made | Refusal],
) -> Made | Refusal:
    """Check the code of the request's form, then act; what stood on the page must be the same."""
    form = CodeForm(request.POST)
    if not form.is_valid():
        return Refusal("CONSOLE_NOT_CONFIRMED")
    stamp = form.cleaned_data["stamp"]
    if stamp and stamp not in content.values():
        return Refusal("DATA_EXPORT_CHANGED")
    signed = accounts.confirm_act(
        request.principal,  # type: ignore[attr-defined]
        form.cleaned_data["code"],
        act=act,
        content=content,
        unix_time=time.time(),
        at=clock.now(),
    )
    return signed if isinstance(signed, Refusal) else do(signed)
