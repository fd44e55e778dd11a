"""Rotation seals the projection again in place; retention deletes old transactions."""

from django.db import migrations

from bcl.foundation import roles


class Migration(migrations.Migration):
    dependencies = [("issuance", "0002_protection")]

    operations = [
        migrations.RunSQL(
            [
                f"GRANT UPDATE ON issuance_issuablerecord TO {roles.APP}",
                f"GRANT DELETE ON issuance_issuancetransaction TO {roles.APP}",
            ],
            [
                f"REVOKE UPDATE ON issuance_issuablerecord FROM {roles.APP}",
                f"REVOKE DELETE ON issuance_issuancetransaction FROM {roles.APP}",
            ],
        )
    ]
