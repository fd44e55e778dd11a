"""A town as foundation sees it: a row, its keys and one audit row, so that tests can count rows."""

from __future__ import annotations

import pytest

from bcl.foundation import audit, clock, keys, tenancy
from bcl.municipalities.models import Municipality


@pytest.fixture
def town(_database_access: None) -> str:
    """The default invented municipality without any use of its data begun."""
    code = "999997"
    with tenancy.scope(code):
        Municipality.objects.create(
            municipality_code=code, name_ja="見本市", head_title_ja="市長",
            mayor_name_ja="見本 太郎", registered_at=clock.now(),
        )  # fmt: skip
        keys.create_town_keys(code, at=clock.now())
        audit.record(act="register_municipality", by=audit.SYSTEM, at=clock.now())
    return code
