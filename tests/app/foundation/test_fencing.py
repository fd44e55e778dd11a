"""A restored database serves nobody until it is let in."""

from __future__ import annotations

import pytest

from bcl.foundation import fencing, worker
from bcl.foundation.models import ClusterInfo

pytestmark = pytest.mark.django_db


@pytest.fixture
def restored(superuser_connection):
    """The database as if it lay on a later timeline than the one that was let in."""
    superuser_connection.execute("UPDATE foundation_clusterinfo SET timeline = timeline + 7")
    yield
    superuser_connection.execute("UPDATE foundation_clusterinfo SET timeline = 1")


@pytest.mark.requirement("R-034")
def test_fence__a_cluster_that_was_migrated_here__is_open() -> None:
    assert fencing.current_timeline() == 1
    assert ClusterInfo.objects.get(pk=1).timeline == 1
    fencing.assert_not_fenced()


@pytest.mark.requirement("R-034")
def test_fence__restored_database__starts_neither_worker_nor_web(restored) -> None:
    from bcl.config import start_up

    assert fencing.is_fenced()
    with pytest.raises(fencing.DatabaseFenced, match="bcl backup promote"):
        worker.run()
    with pytest.raises(fencing.DatabaseFenced):
        start_up.assert_ready_to_serve()


@pytest.mark.requirement("R-034")
def test_fence__database_restored_under_a_running_web_process__gives_no_connection(
    restored,
) -> None:
    from django.db import connection
    from django.db.backends.signals import connection_created

    fencing.watch_new_connections()
    try:
        other = connection.copy()
        for _ in range(2):  # the second attempt must not find the first one's connection open
            with pytest.raises(fencing.DatabaseFenced):
                other.ensure_connection()
            assert other.connection is None
    finally:
        connection_created.disconnect(dispatch_uid="bcl-fencing")
        other.close()
