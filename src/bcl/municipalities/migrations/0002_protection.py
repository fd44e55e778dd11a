"""Row level security and grants for the municipality directory."""

from django.db import migrations

from bcl.foundation.migration_operations import exempt_table, tenant_table


class Migration(migrations.Migration):
    dependencies = [
        ("municipalities", "0001_initial"),
        ("foundation", "0002_protection"),
    ]

    operations = [
        exempt_table("municipalities_municipality"),
        exempt_table("municipalities_gateway"),
        exempt_table("municipalities_deliverycenter"),
        tenant_table("municipalities_municipalitysetting", may="SELECT, INSERT, UPDATE"),
        tenant_table("municipalities_staffmember", may="SELECT, INSERT, UPDATE"),
        tenant_table("municipalities_recoveryreceiver", may="SELECT, INSERT, UPDATE"),
    ]
