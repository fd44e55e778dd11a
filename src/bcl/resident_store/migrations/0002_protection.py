"""What the tables need beyond Django: row level security, storage, sequences, search keys."""

from django.db import migrations

from bcl.foundation.migration_operations import tenant_table
from bcl.foundation.roles import APP

STORAGE = [
    # Ciphertext and digests don't compress; EXTERNAL lets a slice be read without the rest.
    "ALTER TABLE resident_store_page ALTER COLUMN sealed SET STORAGE EXTERNAL",
    "ALTER TABLE resident_store_page ALTER COLUMN slots SET STORAGE EXTERNAL",
    "ALTER TABLE resident_store_searchblock ALTER COLUMN entries SET STORAGE EXTERNAL",
    "ALTER TABLE resident_store_sealimage ALTER COLUMN sealed SET STORAGE EXTERNAL",
    # Room for a page's changed bitmap beside the old one: no index has to be touched then.
    "ALTER TABLE resident_store_page SET (fillfactor = 60)",
]

SEARCH_KEYS = [
    "CREATE TABLE resident_store_search_key ("
    " municipality_code character(6) NOT NULL,"
    " search_key bigint NOT NULL,"
    " record_id bigint NOT NULL)",
    "CREATE INDEX resident_store_search_key_idx ON resident_store_search_key (search_key)",
]

SEQUENCES = [
    statement
    for name in ("resident_store_page_id", "resident_store_segment_id")
    for statement in (f"CREATE SEQUENCE {name}", f"GRANT USAGE ON SEQUENCE {name} TO {APP}")
]


class Migration(migrations.Migration):

    dependencies = [
        ("resident_store", "0001_initial"),
        ("foundation", "0002_protection"),
    ]

    operations = [
        migrations.RunSQL(STORAGE, migrations.RunSQL.noop),
        migrations.RunSQL(SEARCH_KEYS, "DROP TABLE resident_store_search_key"),
        migrations.RunSQL(
            SEQUENCES,
            ["DROP SEQUENCE resident_store_page_id", "DROP SEQUENCE resident_store_segment_id"],
        ),
        tenant_table("resident_store_load", may="SELECT, INSERT"),
        tenant_table("resident_store_page"),
        tenant_table("resident_store_endedrecord"),
        tenant_table("resident_store_searchsegment"),
        tenant_table("resident_store_searchblock"),
        tenant_table("resident_store_search_key"),
        tenant_table("resident_store_heldhousehold"),
        tenant_table("resident_store_heldperson"),
        tenant_table("resident_store_sealimage"),
    ]
