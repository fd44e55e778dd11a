"""Model fields of our own."""

from __future__ import annotations

from typing import Any

from django.db import models


class TenantField(models.CharField):
    """The municipality a row belongs to: 6-digit local government code, `char(6)` (D11).

    Not null, no default: a row says whose it is. The row level policy compares it with the
    municipality of the current `tenancy.scope`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["max_length"] = 6
        kwargs.setdefault("verbose_name", "団体コード")
        super().__init__(*args, **kwargs)

    def db_type(self, connection: Any) -> str:
        # The internal name of character(6): Django's bulk insert casts to db_type without its
        # length, and "char" alone would be one character long.
        return "bpchar(6)"

    def cast_db_type(self, connection: Any) -> str:
        return "bpchar(6)"

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        kwargs.pop("max_length", None)
        return name, path, args, kwargs
