"""How many residents a person was shown lately, and since when they are slowed down."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_passkeys_and_privileges"),
    ]

    operations = [
        migrations.AddField(
            model_name="staffaccount",
            name="looks_since",
            field=models.DateTimeField(null=True, verbose_name="参照を数え始めた日時"),
        ),
        migrations.AddField(
            model_name="staffaccount",
            name="looks_persons",
            field=models.IntegerField(default=0, verbose_name="その後に表示した人数"),
        ),
        migrations.AddField(
            model_name="staffaccount",
            name="looks_slowed_at",
            field=models.DateTimeField(null=True, verbose_name="参照を待たせた日時"),
        ),
    ]
