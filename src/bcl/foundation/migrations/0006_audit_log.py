"""The audit log: leaf numbers, signed heads, and the list of rows that wait for theirs."""

from django.db import migrations, models

import bcl.foundation.fields
from bcl.foundation.migration_operations import append_only, exempt_table, tenant_table

# Statement triggers: one insert beside an insert of many rows. They run with the writer's rights.
_AWAIT = """
CREATE FUNCTION foundation_await_leaf() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO foundation_auditpending (municipality_code, is_agency, entry_id)
    SELECT municipality_code, false, id FROM added;
    RETURN NULL;
END
$$;
CREATE FUNCTION foundation_await_agency_leaf() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO foundation_auditpending (municipality_code, is_agency, entry_id)
    SELECT '000000', true, id FROM added;
    RETURN NULL;
END
$$;
CREATE TRIGGER await_leaf AFTER INSERT ON foundation_auditentry
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION foundation_await_leaf();
CREATE TRIGGER await_leaf AFTER INSERT ON foundation_agencyauditentry
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT
    EXECUTE FUNCTION foundation_await_agency_leaf();
"""
_AWAIT_NO_MORE = """
DROP TRIGGER await_leaf ON foundation_auditentry;
DROP TRIGGER await_leaf ON foundation_agencyauditentry;
DROP FUNCTION foundation_await_leaf();
DROP FUNCTION foundation_await_agency_leaf();
"""
# Rows from before the log get their leaf numbers with the first sealing. The owner is under the
# policies of row security like everybody, so these stand still for this one statement.
_EARLIER_ROWS = """
ALTER TABLE foundation_auditentry NO FORCE ROW LEVEL SECURITY;
INSERT INTO foundation_auditpending (municipality_code, is_agency, entry_id)
SELECT municipality_code, false, id FROM foundation_auditentry
UNION ALL SELECT '000000', true, id FROM foundation_agencyauditentry;
ALTER TABLE foundation_auditentry FORCE ROW LEVEL SECURITY;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("foundation", "0005_fencing"),
    ]

    operations = [
        migrations.AddField(
            model_name="auditentry",
            name="row_tag",
            field=models.BinaryField(null=True, verbose_name="記録の認証値（団体の鍵による）"),
        ),
        migrations.CreateModel(
            name="AuditPending",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "municipality_code",
                        "is_agency",
                        "entry_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("municipality_code", bcl.foundation.fields.TenantField(verbose_name="団体コード")),
                ("is_agency", models.BooleanField(verbose_name="機構の監査記録")),
                ("entry_id", models.BigIntegerField(verbose_name="記録の番号")),
            ],
            options={"verbose_name": "封印を待つ監査記録"},
        ),
        migrations.CreateModel(
            name="AuditLeaf",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "municipality_code",
                        "leaf_number",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("municipality_code", bcl.foundation.fields.TenantField(verbose_name="団体コード")),
                ("leaf_number", models.BigIntegerField(verbose_name="通し番号（0から）")),
                ("is_agency", models.BooleanField(verbose_name="機構の監査記録")),
                ("entry_id", models.BigIntegerField(verbose_name="記録の番号")),
                ("leaf_hash", models.BinaryField(verbose_name="記録のハッシュ値")),
            ],
            options={
                "verbose_name": "監査記録の通し番号",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("municipality_code", "is_agency", "entry_id"),
                        name="auditleaf_entry_is_numbered_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="AuditHead",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "municipality_code",
                        "number",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("municipality_code", bcl.foundation.fields.TenantField(verbose_name="団体コード")),
                ("number", models.BigIntegerField(verbose_name="先頭値の番号")),
                ("tree_size", models.BigIntegerField(verbose_name="記録の数")),
                ("frontier", models.BinaryField(verbose_name="木の端")),
                ("content", models.JSONField(verbose_name="署名した内容")),
                ("sha256", models.CharField(max_length=64, verbose_name="検査値")),
                ("key_id", models.CharField(max_length=64, verbose_name="署名鍵の番号")),
                ("public_key", models.CharField(max_length=64, verbose_name="公開鍵")),
                ("signature", models.CharField(max_length=128, verbose_name="署名")),
            ],
            options={
                "verbose_name": "監査記録の先頭値",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("municipality_code", "tree_size"), name="audithead_size_once"
                    )
                ],
            },
        ),
        exempt_table("foundation_auditpending", may="SELECT, INSERT, DELETE"),
        tenant_table("foundation_auditleaf", may="SELECT, INSERT"),
        append_only("foundation_auditleaf"),
        tenant_table("foundation_audithead", may="SELECT, INSERT"),
        append_only("foundation_audithead"),
        migrations.RunSQL(_AWAIT, reverse_sql=_AWAIT_NO_MORE),
        migrations.RunSQL(_EARLIER_ROWS, reverse_sql=migrations.RunSQL.noop),
    ]
