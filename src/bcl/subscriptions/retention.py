"""How far subscribers have read the store: what ended later is still needed."""

from __future__ import annotations

from bcl.subscriptions.models import DeliveryPage, Subscription
from bcl.subscriptions.rules import RUNNING


def _position(municipality_code: str) -> int | None:
    """The oldest load that a prepared page or the next planning still reads."""
    positions = []
    rows = Subscription.objects.filter(
        municipality_code=municipality_code, state__in=RUNNING, planned_load__gt=0
    )
    for row in rows:
        waiting = DeliveryPage.objects.filter(subscription=row, epoch=row.epoch)
        first = waiting.order_by("number").values_list("load_number", flat=True).first()
        positions.append(int(row.planned_load if first is None else first))
    return min(positions, default=None)


RETENTION: list[object] = []
READERS = [_position]
