"""What the guard's role may do: read what a decision needs, mark SENT or the end, stop a town."""

from django.db import migrations

from bcl.foundation.roles import GUARD

# Families of tables that a decision about a certificate reads; of staff accounts, transmissions
# and recovery packages it reads nothing.
_READ = (
    "availability_",
    "foundation_",
    "issuance_",
    "municipalities_",
    "resident_store_",
    "subscriptions_",
)
_OF_A_TRANSACTION = "state, sent_at, refusal_code, reason, ended_at"

# The external cluster's administrator makes the role; without it there is no guard to run.
_GRANT = """
DO $$
DECLARE found text;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ROLE') THEN RETURN; END IF;
  FOR found IN
    SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relname ~ '^(FAMILIES)'
  LOOP
    EXECUTE format('GRANT SELECT ON %I TO ROLE', found);
  END LOOP;
  GRANT UPDATE (COLUMNS) ON issuance_issuancetransaction TO ROLE;
  -- An audit row waits for its leaf of the log in a table of its own (a trigger puts it there).
  GRANT INSERT ON foundation_auditentry, foundation_auditpending, availability_suspension TO ROLE;
  FOR found IN
    SELECT pg_get_serial_sequence(name, 'id') FROM unnest(ARRAY['foundation_auditentry',
      'foundation_auditpending', 'availability_suspension']) AS name
     WHERE EXISTS (SELECT FROM pg_attribute WHERE attrelid = name::regclass AND attname = 'id')
  LOOP
    EXECUTE format('GRANT USAGE ON SEQUENCE %s TO ROLE', found);
  END LOOP;
END $$
"""
for word, value in (("ROLE", GUARD), ("FAMILIES", "|".join(_READ)), ("COLUMNS", _OF_A_TRANSACTION)):
    _GRANT = _GRANT.replace(word, value)


class Migration(migrations.Migration):
    dependencies = [
        ("issuance", "0003_reseal_and_retention"),
        ("availability", "0002_protection"),
        ("foundation", "0006_audit_log"),
        ("municipalities", "0005_profile_period"),
        ("resident_store", "0007_complete_segments"),
        ("subscriptions", "0001_initial"),
    ]
    operations = [migrations.RunSQL(_GRANT, migrations.RunSQL.noop)]
