"""Searching the audit log: an index for each question, read on from its last row, newest first."""

from django.db import migrations

# Columns made by the database from the row itself. A policy of row security keeps `->>` and LIKE
# from being asked of an index; of a plain column it does not.
_COLUMNS = """
ALTER TABLE foundation_auditentry
    ADD COLUMN terminal text GENERATED ALWAYS AS
        (coalesce(detail->>'terminal', detail->>'terminal_id')) STORED,
    ADD COLUMN is_refused boolean GENERATED ALWAYS AS
        (starts_with(act, 'refuse_') OR starts_with(act, 'fail_')) STORED;
ALTER TABLE foundation_agencyauditentry
    ADD COLUMN terminal text GENERATED ALWAYS AS
        (coalesce(detail->>'terminal', detail->>'terminal_id')) STORED,
    ADD COLUMN is_refused boolean GENERATED ALWAYS AS
        (starts_with(act, 'refuse_') OR starts_with(act, 'fail_')) STORED;
"""
_COLUMNS_AWAY = """
ALTER TABLE foundation_auditentry DROP COLUMN terminal, DROP COLUMN is_refused;
ALTER TABLE foundation_agencyauditentry DROP COLUMN terminal, DROP COLUMN is_refused;
"""
# Each begins with the town and ends with time and id, so that a page begins where the former one
# ended. What was refused is rare; a terminal stands only in rows of people.
_INDEXES = {
    "auditentry_newest_idx": "foundation_auditentry (municipality_code, at, id)",
    "auditentry_actor_idx": "foundation_auditentry (municipality_code, actor_id, at, id)",
    "auditentry_act_idx": "foundation_auditentry (municipality_code, act, at, id)",
    "auditentry_terminal_idx": (
        "foundation_auditentry (municipality_code, terminal, at, id) WHERE terminal IS NOT NULL"
    ),
    "auditentry_refused_idx": (
        "foundation_auditentry (municipality_code, at, id) WHERE is_refused"
    ),
    "agencyauditentry_newest_idx": "foundation_agencyauditentry (at, id)",
}


class Migration(migrations.Migration):
    dependencies = [("foundation", "0006_audit_log")]

    operations = [
        migrations.RunSQL(_COLUMNS, reverse_sql=_COLUMNS_AWAY),
        *(
            migrations.RunSQL(f"CREATE INDEX {name} ON {columns}", f"DROP INDEX {name}")
            for name, columns in _INDEXES.items()
        ),
        # The first of them does what this one did, and orders rows of one moment as well.
        migrations.RemoveIndex(model_name="auditentry", name="auditentry_town_at_idx"),
    ]
