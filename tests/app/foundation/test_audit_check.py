"""What the check names when somebody with every right in the database was at the audit log."""

from __future__ import annotations

import pytest

from bcl.foundation import audit, audit_check, audit_log, clock, tenancy
from bcl.foundation.audit_check import FindingKind
from bcl.foundation.audit_outside import HeadDirectory
from bcl.foundation.models import AuditEntry, AuditHead

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.requirement("R-171"),
]
CLERK = audit.Actor("staff", "clerk-01")
BATCHES, ROWS = 3, 5
_COPY = (
    "INSERT INTO foundation_auditentry (municipality_code, act, actor_kind, actor_id, at,"
    " subject_digest, detail, row_tag) SELECT municipality_code, {act}, actor_kind, actor_id, at,"
    " subject_digest, detail, row_tag FROM foundation_auditentry WHERE id = %s RETURNING id"
)


@pytest.fixture
def outside(tmp_path) -> HeadDirectory:
    return HeadDirectory(tmp_path / "heads")


@pytest.fixture
def rows(town, outside) -> list[int]:
    """Three sealed batches of five rows (the first one has the town's registration too)."""
    written = []
    for _ in range(BATCHES):
        with tenancy.scope(town):
            written += [
                audit.record(act="approve_export", by=CLERK, at=clock.now(), detail={"export": n})
                for n in range(ROWS)
            ]
        audit_log.seal_all(place=outside)
    return written


@pytest.fixture
def superuser(superuser_connection):
    """A superuser who lets the append-only triggers stand still."""
    superuser_connection.execute("SET session_replication_role = replica")
    return superuser_connection


def look(town: str, outside: HeadDirectory) -> list[audit_check.Finding]:
    return audit_check.check(town, outside=outside.read(town), at=clock.now()).findings


def test_untouched_log__is_sound(town, rows, outside):
    report = audit_check.check(town, outside=outside.read(town), at=clock.now())
    assert report.is_sound and report.tags_checked
    assert (report.rows, report.heads, report.outside_heads) == (len(rows) + 1, BATCHES, BATCHES)


def test_altered_row__is_named(town, rows, outside, superuser):
    superuser.execute(
        "UPDATE foundation_auditentry SET actor_id = 'somebody' WHERE id = ANY(%s)",
        [[rows[12], rows[7]]],
    )
    first, second = look(town, outside)
    assert (first.kind, first.entry_id, first.low) == (FindingKind.ROW_ALTERED, rows[7], 8)
    assert (second.kind, second.entry_id) == (FindingKind.ROW_ALTERED, rows[12])


def test_any_changed_column__is_seen(town, rows, outside, superuser):
    superuser.execute("CREATE TEMPORARY TABLE kept AS SELECT * FROM foundation_auditentry")
    columns = "act", "actor_kind", "at", "subject_digest", "detail", "row_tag"
    changes = (
        "'other_act'", "'system'", "at + interval '1 microsecond'", "'\\x00'", "'{}'", "NULL",
    )  # fmt: skip
    for column, value in zip(columns, changes, strict=True):
        superuser.execute(
            f"UPDATE foundation_auditentry SET {column} = {value} WHERE id = %s", [rows[3]]
        )
        assert [each.entry_id for each in look(town, outside)] == [rows[3]], column
        superuser.execute(
            f"UPDATE foundation_auditentry e SET {column} = k.{column} FROM kept k"
            " WHERE k.id = e.id"
        )
    assert look(town, outside) == []


def test_deleted_row__is_named(town, rows, outside, superuser):
    superuser.execute("DELETE FROM foundation_auditentry WHERE id = %s", [rows[6]])
    (found,) = look(town, outside)
    assert (found.kind, found.entry_id, found.low) == (FindingKind.ROW_DELETED, rows[6], 7)


def test_deleted_row_with_its_leaf__is_named_by_its_number(town, rows, outside, superuser):
    superuser.execute("DELETE FROM foundation_auditentry WHERE id = %s", [rows[6]])
    superuser.execute("DELETE FROM foundation_auditleaf WHERE entry_id = %s", [rows[6]])
    (found,) = look(town, outside)
    assert (found.kind, found.low, found.high) == (FindingKind.LEAVES_MISSING, 7, 8)


def test_row_deleted_before_it_was_sealed__is_named(town, rows, outside, superuser):
    with tenancy.scope(town):
        gone = audit.record(act="approve_export", by=CLERK, at=clock.now())
    superuser.execute("DELETE FROM foundation_auditentry WHERE id = %s", [gone])
    audit_log.seal_all(place=outside)
    (found,) = look(town, outside)
    assert (found.kind, found.entry_id) == (FindingKind.ROW_DELETED, gone)


def test_inserted_row__past_the_trigger__is_named(town, rows, outside, superuser):
    (false,) = superuser.execute(_COPY.format(act="'release_export'"), [rows[2]]).fetchone()
    found = {(each.kind, each.entry_id) for each in look(town, outside)}
    # Its tag is that of the row it was copied from.
    assert found == {(FindingKind.ROW_INSERTED, false), (FindingKind.ROW_COPIED, false)}


def test_inserted_row__sealed_like_a_true_one__is_named(town, rows, outside, superuser_connection):
    # Triggers stand: the row waits and gets a number. It has no tag of the town's key.
    (false,) = superuser_connection.execute(
        _COPY.format(act="'release_export'"), [rows[2]]
    ).fetchone()
    audit_log.seal_all(place=outside)
    kinds = {(each.kind, each.entry_id) for each in look(town, outside)}
    assert (FindingKind.ROW_FORGED, false) in kinds
    (none,) = superuser_connection.execute(
        "INSERT INTO foundation_auditentry (municipality_code, act, actor_kind, actor_id, at,"
        " detail) VALUES (%s, 'x_y_z', 'staff', 'x', now(), '{}') RETURNING id", [town],
    ).fetchone()
    audit_log.seal_all(place=outside)
    assert (FindingKind.ROW_WITHOUT_TAG, none) in {
        (each.kind, each.entry_id) for each in look(town, outside)
    }


def test_true_row__put_in_again__is_named(town, rows, outside, superuser_connection):
    (copy,) = superuser_connection.execute(_COPY.format(act="act"), [rows[2]]).fetchone()
    audit_log.seal_all(place=outside)
    (found,) = look(town, outside)
    assert (found.kind, found.entry_id, found.low) == (FindingKind.ROW_COPIED, copy, len(rows) + 1)


def test_altered_row_with_its_hash__is_named_and_the_tree_too(town, rows, outside, superuser):
    superuser.execute(
        "UPDATE foundation_auditentry SET actor_id = 'somebody' WHERE id = %s", [rows[7]]
    )
    with tenancy.scope(town):
        from bcl.foundation import audit_rows

        row = audit_rows.read_rows(town, is_agency=False, entry_ids=[rows[7]])[rows[7]]
    superuser.execute(
        "UPDATE foundation_auditleaf SET leaf_hash = %s WHERE entry_id = %s",
        [audit_rows.leaf_hash(row), rows[7]],
    )
    found = {each.kind: each for each in look(town, outside)}
    assert found[FindingKind.ROW_FORGED].entry_id == rows[7]
    tree = found[FindingKind.TREE_ALTERED]
    assert (tree.low, tree.high) == (6, 11)  # the second batch, and that one only


def test_end_of_the_log_cut_off__is_found_outside_only(town, rows, outside, superuser):
    superuser.execute("DELETE FROM foundation_auditentry WHERE id = ANY(%s)", [rows[10:]])
    superuser.execute("DELETE FROM foundation_auditleaf WHERE entry_id = ANY(%s)", [rows[10:]])
    superuser.execute("DELETE FROM foundation_audithead WHERE number = 3")
    assert audit_check.check(town, outside=[], at=clock.now()).is_sound
    (found,) = look(town, outside)
    assert (found.kind, found.low, found.high) == (FindingKind.END_DELETED, 11, 16)


def test_log_written_anew_and_signed__is_found_outside(town, rows, outside, superuser, tmp_path):
    superuser.execute("DELETE FROM foundation_auditentry WHERE id = %s", [rows[0]])
    superuser.execute("DELETE FROM foundation_auditleaf WHERE municipality_code = %s", [town])
    superuser.execute("DELETE FROM foundation_audithead WHERE municipality_code = %s", [town])
    superuser.execute(
        "INSERT INTO foundation_auditpending SELECT municipality_code, false, id"
        " FROM foundation_auditentry WHERE municipality_code = %s", [town],
    )
    audit_log.seal_all(place=HeadDirectory(tmp_path / "elsewhere"))
    assert audit_check.check(town, outside=[], at=clock.now()).is_sound
    assert look(town, outside)[0].kind is FindingKind.OUTSIDE_DIFFERS


def test_database_set_back__shows_what_was_lost(town, rows, outside, superuser):
    superuser.execute("DELETE FROM foundation_auditentry WHERE id = ANY(%s)", [rows[10:]])
    superuser.execute("DELETE FROM foundation_auditleaf WHERE entry_id = ANY(%s)", [rows[10:]])
    superuser.execute("DELETE FROM foundation_audithead WHERE number = 3")
    superuser.execute("UPDATE foundation_clusterinfo SET fencing_epoch = fencing_epoch + 1")
    try:
        with tenancy.scope(town):
            for _ in range(9):
                audit.record(act="approve_export", by=CLERK, at=clock.now())
        audit_log.seal_all(place=outside)
    finally:
        superuser.execute("UPDATE foundation_clusterinfo SET fencing_epoch = fencing_epoch - 1")
    assert outside.last(town)["content"]["tree_size"] == 20
    (found,) = look(town, outside)
    assert (found.kind, found.low, found.high) == (FindingKind.ROLLED_BACK, 11, 16)


def test_altered_head__is_named(town, rows, outside, superuser):
    superuser.execute("CREATE TEMPORARY TABLE kept AS SELECT * FROM foundation_audithead")
    columns = "content", "signature", "key_id", "sha256"
    changes = (
        "jsonb_set(h.content, '{sealed_at}', '\"2020-01-01T00:00:00+09:00\"')", "'AAAA'",
        "'agency-other'", "repeat('0', 64)",
    )  # fmt: skip
    for column, value in zip(columns, changes, strict=True):
        superuser.execute(
            f"UPDATE foundation_audithead h SET {column} = {value} WHERE number = 2"
        )
        found = {(each.kind, each.head) for each in look(town, outside)}
        assert (FindingKind.HEAD_ALTERED, 2) in found, column
        superuser.execute(
            f"UPDATE foundation_audithead h SET {column} = k.{column} FROM kept k"
            " WHERE k.number = h.number AND k.municipality_code = h.municipality_code"
        )
    assert look(town, outside) == []


def test_row_that_waits_too_long__is_reported(town, rows, outside):
    with tenancy.scope(town):
        audit.record(act="approve_export", by=CLERK, at=clock.now())
    assert look(town, outside) == []
    late = clock.now() + audit_check.LATE * 2
    report = audit_check.check(town, outside=outside.read(town), at=late)
    assert [each.kind for each in report.findings] == [FindingKind.ROW_WAITING]


def test_row__when_the_key_is_away__is_written_and_named(town, rows, outside, monkeypatch):
    from bcl.foundation import keys

    def away(*_: object) -> None:
        raise keys.KeyProviderAway("no device")

    with monkeypatch.context() as patch, tenancy.scope(town):
        patch.setattr(keys, "data_key", away)
        emergency = audit.record(act="suspend_issuance", by=CLERK, at=clock.now())
    audit_log.seal_all(place=outside)
    (found,) = look(town, outside)
    assert (found.kind, found.entry_id) == (FindingKind.ROW_WITHOUT_TAG, emergency)


def test_log_of_an_erased_town__is_still_checked_by_its_hashes(town, rows, outside, superuser):
    from bcl.foundation import keys

    with tenancy.scope(town):
        keys.destroy_town_keys(town)
    keys.forget_cached_keys()
    report = audit_check.check(town, outside=outside.read(town), at=clock.now())
    assert report.is_sound and not report.tags_checked
    superuser.execute("UPDATE foundation_auditentry SET act = 'x_y_z' WHERE id = %s", [rows[1]])
    assert [each.entry_id for each in look(town, outside)] == [rows[1]]


def test_heads_and_leaves__are_append_only_for_every_role(
    town, rows, owner_connection, app_connection
):
    import psycopg

    for connection in (owner_connection, app_connection):
        connection.execute("SELECT set_config('bcl.municipality', %s, false)", [town])
        for table in ("auditleaf", "audithead", "auditentry"):
            for statement in (f"UPDATE foundation_{table} SET municipality_code = '999989'",
                              f"DELETE FROM foundation_{table}", f"TRUNCATE foundation_{table}"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement)
    with tenancy.scope(town):
        assert AuditHead.objects.count() == BATCHES
        assert AuditEntry.objects.count() == len(rows) + 1
