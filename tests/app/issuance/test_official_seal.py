"""The mayor's seal: a picture that a drawer can open safely, or none at all."""

from __future__ import annotations

import struct
from datetime import date

import pytest

from bcl.foundation import clock
from bcl.foundation.audit import SYSTEM
from bcl.issuance import api
from bcl.issuance.models import OfficialSeal

pytestmark = [pytest.mark.django_db, pytest.mark.requirement("R-164")]


def register(town: str, picture: bytes) -> str:
    return api.register_official_seal(
        municipality_code=town,
        image_png=picture,
        side_mm=20.0,
        valid_from_on=date(2026, 4, 1),
        by=SYSTEM,
        at=clock.now(),
    )


@pytest.fixture(scope="module")
def seal() -> bytes:
    return api.draw_demo_seal("見本市長")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda png: png[:16] + struct.pack(">2I", 100_000, 100_000) + png[24:],
        lambda png: png[:16] + struct.pack(">2I", 0, 300) + png[24:],
        lambda png: png[:25] + b"\x06" + png[26:],
        lambda png: png[:20],
        lambda png: png[:-12],
        lambda png: png[:-12] + b"\0" * (1 << 20) + png[-12:],
        lambda png: b"GIF89a" + png[6:],
        lambda png: b"%!PS-Adobe-3.0 EPSF-3.0\n" + png,
    ],
    ids=["huge", "empty", "transparent", "cut", "without its end", "heavy", "gif", "postscript"],
)
def test_official_seal__of_a_dangerous_picture__is_not_taken(town, seal, spoil) -> None:
    with pytest.raises(ValueError, match="official seal"):
        register(town, spoil(seal))


def test_official_seal__of_a_plain_picture__is_taken(town, seal) -> None:
    from bcl.foundation import tenancy

    digest = register(town, seal)
    with tenancy.scope(town):
        assert OfficialSeal.objects.get().sha256 == digest
