"""Row level security and grants for staff accounts."""

from django.db import migrations

from bcl.foundation.migration_operations import exempt_table, tenant_table


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("foundation", "0002_protection"),
    ]

    operations = [
        exempt_table("accounts_terminal"),
        tenant_table("accounts_staffaccount", may="SELECT, INSERT, UPDATE"),
        tenant_table("accounts_rolegrant", may="SELECT, INSERT, UPDATE"),
        tenant_table("accounts_staffsession"),
        tenant_table("accounts_signinfailure", may="SELECT, INSERT, DELETE"),
    ]
