"""Demo settings stay off production clusters, and the reverse (D31)."""

from __future__ import annotations

from django.conf import settings

from bcl.foundation.models import ClusterInfo


class WrongEnvironment(Exception):
    """Settings and cluster are for different environments: refuse to start."""


def assert_environment_matches() -> None:
    """Raise `WrongEnvironment` unless the cluster is for the environment of the settings."""
    info = ClusterInfo.objects.filter(pk=1).first()
    if info is None:
        raise WrongEnvironment("データベースの用途（環境）が記録されていないため、起動しません。")
    if info.environment != settings.BCL.environment:
        raise WrongEnvironment(
            f"データベースは {info.environment} 用、設定は {settings.BCL.environment} 用です。"
            "取り違えを防ぐため、起動しません。"
        )
