"""Where in which file a held row stood: the quarantine list names it (R-022)."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("resident_store", "0003_history_start")]

    operations = [
        migrations.AddField(
            model_name="heldperson",
            name="line",
            field=models.BigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="heldperson",
            name="column",
            field=models.CharField(blank=True, default="", max_length=120),
        ),
        migrations.AddField(
            model_name="heldperson",
            name="rule",
            field=models.CharField(blank=True, default="", max_length=60),
        ),
    ]
