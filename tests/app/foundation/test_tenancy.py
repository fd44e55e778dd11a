"""Row level security: the database keeps the municipalities apart."""

from __future__ import annotations

import psycopg
import pytest
from django.db import connection
from django.db.utils import DatabaseError, ProgrammingError

from bcl.foundation import tenancy
from bcl.foundation.models import DataKey

pytestmark = [pytest.mark.requirement("R-002"), pytest.mark.requirement("R-173")]


def test_rows__without_scope__none_are_visible(town):
    with tenancy.scope(town):
        assert DataKey.objects.count() > 0
    assert DataKey.objects.count() == 0


def test_rows__in_two_scopes_one_after_another__own_rows_only(town, other_town):
    for code in (town, other_town, town):
        with tenancy.scope(code):
            assert set(DataKey.objects.values_list("municipality_code", flat=True)) == {code}
