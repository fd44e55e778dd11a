"""The audit trail: in the act's transaction, for good, without values."""

from __future__ import annotations

import psycopg
import pytest
from django.db.utils import ProgrammingError

from bcl.foundation import audit, clock, tenancy
from bcl.foundation.models import AgencyAuditEntry, AuditEntry

CLERK = audit.Actor("staff", "clerk-01")


def _record(**changes):
    given = {"act": "approve_export", "by": CLERK, "at": clock.now()} | changes
    return audit.record(**given)


def test_record__when_the_act_rolls_back__is_gone(town):
    with pytest.raises(ZeroDivisionError), tenancy.scope(town):
        _record()
        raise ZeroDivisionError
    with tenancy.scope(town):
        assert not AuditEntry.objects.filter(act="approve_export").exists()


def test_record__without_scope__raises(db):
    with pytest.raises(tenancy.TenancyError):
        _record()


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.update(act="other_act"),
        lambda rows: rows.delete(),
    ],
)
def test_row__changed_by_the_application__is_refused(town, change):
    with tenancy.scope(town):
        _record()
    with pytest.raises(ProgrammingError), tenancy.scope(town):
        change(AuditEntry.objects.all())
    with tenancy.scope(town):
        assert AuditEntry.objects.filter(act="approve_export").count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE foundation_auditentry SET act = 'x'",
        "DELETE FROM foundation_auditentry",
        "TRUNCATE foundation_auditentry",
        "UPDATE foundation_agencyauditentry SET act = 'x'",
        "DELETE FROM foundation_agencyauditentry",
        "TRUNCATE foundation_agencyauditentry",
    ],
)
@pytest.mark.parametrize("role", ["owner_connection", "superuser_connection"])
def test_row__changed_by_owner_or_superuser__is_refused(town, request, role, statement):
    with tenancy.scope(town):
        _record()
    audit.record_agency(act="register_center", by=audit.SYSTEM, at=clock.now())
    connection = request.getfixturevalue(role)
    connection.execute("SELECT set_config('bcl.municipality', %s, false)", [town])
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)
    assert AgencyAuditEntry.objects.count() == 1


def test_subject__of_one_person__is_findable_but_blind(town, other_town):
    with tenancy.scope(town):
        _record(subject_key=b"123456789012345")
        _record(subject_key=b"123456789012345")
        digests = set(
            map(
                bytes,
                AuditEntry.objects.exclude(subject_digest=None).values_list(
                    "subject_digest", flat=True
                ),
            )
        )
    with tenancy.scope(other_town):
        _record(subject_key=b"123456789012345")
        foreign = bytes(AuditEntry.objects.exclude(subject_digest=None).get().subject_digest)
    assert len(digests) == 1 and len(foreign) == 16
    assert foreign not in digests


@pytest.mark.parametrize(
    "value",
    [
        "山田太郎",
        "ヤマダ",
        "Taro Yamada",
        "123456789012",
        "12345678901",
        123456789012,
        1.5,
        None,
        "a\nb",
        "x" * 161,
        "id=123456789012;",
    ],
)
def test_detail__that_could_be_personal__is_refused(town, value):
    with tenancy.scope(town), pytest.raises(ValueError, match="detail") as refused:
        _record(detail={"note": value})
    assert str(value) not in str(refused.value)


@pytest.mark.parametrize(
    "value",
    [
        "01JAB3W8Z4N2Q5RTYV6X7M9KCD",
        "0b1c2d3e-0000-7000-8000-123456789012",
        12,
        "2026-11-22",
        "2026-11-22T20:30:00+09:00",
        "",
        "a" * 64,
    ],
)
def test_detail__ids_codes_and_counts__are_kept(town, value):
    with tenancy.scope(town):
        _record(detail={"note": value})
        assert AuditEntry.objects.latest("pk").detail == {"note": value}


@pytest.mark.parametrize(
    ("kind", "identifier"),
    [
        ("nobody", "x"),
        ("staff", ""),
        ("staff", "山田"),
        ("staff", "a b"),
    ],
)
def test_actor__without_a_proper_id__is_refused(kind, identifier):
    with pytest.raises(ValueError, match="actor"):
        audit.Actor(kind, identifier)


def test_record__with_a_naive_time__is_refused(town):
    with tenancy.scope(town), pytest.raises(ValueError, match="zone"):
        _record(at=clock.now().replace(tzinfo=None))
