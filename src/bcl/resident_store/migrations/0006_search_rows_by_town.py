"""Single search rows are found by town as well, so that a merge reads only its own."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("resident_store", "0005_fragment_index")]

    operations = [
        migrations.RunSQL(
            [
                "CREATE INDEX resident_store_search_key_town_idx"
                " ON resident_store_search_key (municipality_code, search_key)",
                "DROP INDEX resident_store_search_key_idx",
            ],
            [
                "CREATE INDEX resident_store_search_key_idx"
                " ON resident_store_search_key (search_key)",
                "DROP INDEX resident_store_search_key_town_idx",
            ],
        ),
    ]
