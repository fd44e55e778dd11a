"""Where the intake's directory, limits and subscribers come from: the installation's settings."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.utils.module_loading import import_string

from bcl.linkage.adapters.receive_area import ReceiveArea
from bcl.linkage.limits import IntakeLimits

_MEBIBYTE = 1 << 20
_SUBSCRIPTIONS = "bcl.config.subscriptions.installed_tasks"


def receive_area() -> ReceiveArea:
    """The receive area of this installation."""
    return ReceiveArea(settings.BCL.receive_dir)


def folder_transfer_dir() -> Path | None:
    """Where external transfer tools bring and fetch files; None where none is used (R-014)."""
    return settings.BCL.folder_transfer_dir


def limits() -> IntakeLimits:
    """The limits of this installation."""
    return IntakeLimits(free_bytes=settings.BCL.minimum_free_mb * _MEBIBYTE)


def environment() -> str:
    """The environment gateways know this installation by: everything but production is 検証."""
    return "production" if settings.BCL.environment == "production" else "verification"


def subscriber_tasks() -> tuple[str, ...]:
    """Tasks to start after a landing. Wiring is config's: linkage knows no subscriber."""
    tasks: tuple[str, ...] = import_string(
        getattr(settings, "FEED_SUBSCRIPTIONS", _SUBSCRIPTIONS)
    )()
    return tasks
