"""Registration of the backup app. It has no tables: what it knows lies beside the backups."""

from __future__ import annotations

from django.apps import AppConfig


class BackupConfig(AppConfig):
    """BCL's own backup and the restore drill."""

    name = "bcl.backup"
    label = "backup"
    verbose_name = "BCLのバックアップ"
