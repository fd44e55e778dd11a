"""Row level security and grants for service hours and suspensions."""

from django.db import migrations

from bcl.foundation.migration_operations import tenant_table


class Migration(migrations.Migration):
    dependencies = [
        ("availability", "0001_initial"),
        ("foundation", "0002_protection"),
    ]

    operations = [
        tenant_table("availability_servicehours", may="SELECT, INSERT, UPDATE"),
        tenant_table("availability_suspension", may="SELECT, INSERT, UPDATE"),
    ]
