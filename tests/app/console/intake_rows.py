"""Transmissions as rows, for the screens that show them."""

from __future__ import annotations

import uuid

from bcl.foundation import clock, tenancy
from bcl.linkage.models import Transmission

TOWN = "999997"


def transmission(code: str = TOWN, **more: object) -> Transmission:
    at = clock.now()
    facts: dict[str, object] = {
        "bundle_id": uuid.uuid4().hex,
        "sha256": uuid.uuid4().hex * 2,
        "bytes": 123_456,
        "upload_id": uuid.uuid4(),
        "key_version": 1,
        "gateway_id": "gw",
        "state": "HELD",
        "refusal_code": "TRANSMISSION_GAP",
        "lane": "main",
        "mode": "full",
        "sequence": 7,
        "as_of": at,
        "received_at": at,
        "counts": [{"file_id": "J01", "rows": 1200, "inserted": 3}],
    }
    with tenancy.scope(code):
        return Transmission.objects.create(municipality_code=code, **(facts | more))
