"""Whether a segment of the fragment index reaches the end of its last load."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("resident_store", "0006_search_rows_by_town")]

    operations = [
        migrations.AddField(
            model_name="fragmentsegment",
            name="complete",
            field=models.BooleanField(default=False),
        ),
    ]
