"""Row level security and rights of the issuing tables."""

from django.db import migrations

from bcl.foundation.migration_operations import tenant_table


class Migration(migrations.Migration):
    dependencies = [("issuance", "0001_initial"), ("foundation", "0002_protection")]

    operations = [
        tenant_table("issuance_issuablerecord", may="SELECT, INSERT, DELETE"),
        tenant_table("issuance_projectionposition", may="SELECT, INSERT, UPDATE"),
        tenant_table("issuance_issuancetransaction", may="SELECT, INSERT, UPDATE"),
        tenant_table("issuance_inquiry", may="SELECT, INSERT, UPDATE, DELETE"),
        tenant_table("issuance_seenmessage", may="SELECT, INSERT, DELETE"),
        tenant_table("issuance_issuanceblock", may="SELECT, INSERT, UPDATE"),
        tenant_table("issuance_officialseal", may="SELECT, INSERT, UPDATE"),
    ]
