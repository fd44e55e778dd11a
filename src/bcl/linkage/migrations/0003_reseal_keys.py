"""After a key rotation the private keys of receipts and transfers are sealed again in place."""

from django.db import migrations

from bcl.foundation import roles

_TABLES = ("linkage_receiptkey", "linkage_transferkey")


class Migration(migrations.Migration):
    dependencies = [("linkage", "0002_folder_transfer")]

    operations = [
        migrations.RunSQL(
            [f"GRANT UPDATE ON {table} TO {roles.APP}" for table in _TABLES],
            [f"REVOKE UPDATE ON {table} FROM {roles.APP}" for table in _TABLES],
        )
    ]
