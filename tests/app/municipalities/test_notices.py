"""Notices of a municipality: told once, closed once, kept apart by town."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db import DatabaseError, transaction

from bcl.foundation import clock, tenancy
from bcl.municipalities import api as municipalities
from bcl.municipalities.models import Notice

pytestmark = [pytest.mark.django_db, pytest.mark.requirement("R-035")]
NOON = datetime(2026, 11, 22, 12, tzinfo=clock.JST)
LATER = NOON + timedelta(hours=1)
CODE = "LINKAGE_BACKLOG"


def test_notice__found_again__stays_one_with_its_first_time(town):
    first = municipalities.open_notice(town, CODE, "main", at=NOON, detail={"seconds": 5})
    again = municipalities.open_notice(town, CODE, "main", at=LATER, detail={"seconds": 9})
    other = municipalities.open_notice(town, CODE, "urgent", at=LATER, kind="REMINDER")

    assert (first, again, other) == (True, False, True)
    main, urgent = municipalities.open_notices(town)
    assert (main.mark, main.opened_at, dict(main.detail)) == ("main", NOON, {"seconds": 5})
    assert (urgent.mark, urgent.kind) == ("urgent", "REMINDER")
    assert main.text_ja


def test_notice__closed__opens_anew_with_its_own_history(town):
    municipalities.open_notice(town, CODE, at=NOON)

    assert municipalities.close_notice(town, CODE, at=LATER)
    assert not municipalities.close_notice(town, CODE, at=LATER)
    assert municipalities.open_notices(town) == []
    assert municipalities.open_notice(town, CODE, at=LATER)
    assert [notice.closed_at for notice in municipalities.list_notices(town)] == [LATER, None]


def test_notices__of_all_towns__and_never_of_another(town, other_town):
    municipalities.open_notice(town, CODE, at=LATER)
    municipalities.open_notice(other_town, CODE, at=NOON)

    assert [n.municipality_code for n in municipalities.open_notices()] == [other_town, town]
    assert [n.municipality_code for n in municipalities.open_notices(town)] == [town]
    with tenancy.scope(town):
        assert not Notice.objects.filter(municipality_code=other_town).exists()
        with pytest.raises(DatabaseError), transaction.atomic():
            Notice.objects.create(
                municipality_code=other_town, code=CODE, kind="ALARM", opened_at=NOON
            )


def test_notice__with_a_value_of_a_register_or_an_unknown_code__is_a_fault(town):
    with pytest.raises(ValueError, match="detail"):
        municipalities.open_notice(town, CODE, at=NOON, detail={"name": "住民 太郎"})
    with pytest.raises(KeyError):
        municipalities.open_notice(town, "NO_SUCH_CODE", at=NOON)
    assert municipalities.list_notices(town) == []
