"""The index for parts of names and addresses: segments of pages, and their sealed blocks."""

from django.db import migrations, models

import bcl.foundation.fields
from bcl.foundation.migration_operations import tenant_table


class Migration(migrations.Migration):
    dependencies = [("resident_store", "0004_place_of_a_hold")]

    operations = [
        migrations.CreateModel(
            name="FragmentSegment",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                (
                    "municipality_code",
                    bcl.foundation.fields.TenantField(verbose_name="団体コード"),
                ),
                ("file_id", models.CharField(max_length=4)),
                ("first_page", models.BigIntegerField()),
                ("last_page", models.BigIntegerField()),
                ("last_load", models.IntegerField()),
                ("page_count", models.IntegerField()),
                ("pages", models.BinaryField()),
                ("stale", models.BooleanField(default=False)),
            ],
            options={
                "verbose_name": "断片索引の区分",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("municipality_code", "file_id", "first_page"),
                        name="resident_store_fragment_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="FragmentBlock",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "municipality_code",
                    bcl.foundation.fields.TenantField(verbose_name="団体コード"),
                ),
                ("segment_id", models.BigIntegerField()),
                ("first_key", models.BigIntegerField()),
                ("last_key", models.BigIntegerField()),
                ("sealed", models.BinaryField()),
            ],
            options={
                "verbose_name": "断片索引のブロック",
                "indexes": [
                    models.Index(
                        fields=["segment_id", "last_key"], name="resident_store_frag_last_idx"
                    )
                ],
            },
        ),
        migrations.RunSQL(
            # Ciphertext doesn't compress.
            "ALTER TABLE resident_store_fragmentblock ALTER COLUMN sealed SET STORAGE EXTERNAL",
            migrations.RunSQL.noop,
        ),
        tenant_table("resident_store_fragmentsegment"),
        tenant_table("resident_store_fragmentblock"),
    ]
