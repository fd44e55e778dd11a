"""Tables of the audit log: leaf numbers, signed heads, and the rows that wait for theirs.

The rows themselves are `AuditEntry` and `AgencyAuditEntry`; each town has one log, and the log of
the agency ("000000") holds the rows of both tables.
"""

from __future__ import annotations

from django.db import models

from bcl.foundation.fields import TenantField


class AuditPending(models.Model):
    """A row that was written and has no leaf number yet; put here by a trigger of the database."""

    pk = models.CompositePrimaryKey("municipality_code", "is_agency", "entry_id")
    municipality_code = TenantField()
    is_agency = models.BooleanField(verbose_name="機構の監査記録")
    entry_id = models.BigIntegerField(verbose_name="記録の番号")

    class Meta:
        verbose_name = "封印を待つ監査記録"

    def __str__(self) -> str:
        return f"{self.municipality_code} {self.entry_id}"


class AuditLeaf(models.Model):
    """Where a row stands in the log of its town, and the hash of its bytes; never changed."""

    pk = models.CompositePrimaryKey("municipality_code", "leaf_number")
    municipality_code = TenantField()
    leaf_number = models.BigIntegerField(verbose_name="通し番号（0から）")
    is_agency = models.BooleanField(verbose_name="機構の監査記録")
    entry_id = models.BigIntegerField(verbose_name="記録の番号")
    leaf_hash = models.BinaryField(verbose_name="記録のハッシュ値")

    class Meta:
        verbose_name = "監査記録の通し番号"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "is_agency", "entry_id"],
                name="auditleaf_entry_is_numbered_once",
            ),
        )

    def __str__(self) -> str:
        return f"{self.municipality_code} {self.leaf_number}"


class AuditHead(models.Model):
    """The signed head of a town's log after one sealing, chained to the former; never changed.

    `frontier` holds the hashes of the tree's complete subtrees, largest first: what the next
    sealing goes on from.
    """

    pk = models.CompositePrimaryKey("municipality_code", "number")
    municipality_code = TenantField()
    number = models.BigIntegerField(verbose_name="先頭値の番号")
    tree_size = models.BigIntegerField(verbose_name="記録の数")
    frontier = models.BinaryField(verbose_name="木の端")
    content = models.JSONField(verbose_name="署名した内容")
    sha256 = models.CharField(max_length=64, verbose_name="検査値")
    key_id = models.CharField(max_length=64, verbose_name="署名鍵の番号")
    public_key = models.CharField(max_length=64, verbose_name="公開鍵")
    signature = models.CharField(max_length=128, verbose_name="署名")

    class Meta:
        verbose_name = "監査記録の先頭値"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "tree_size"], name="audithead_size_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.municipality_code} #{self.number} {self.tree_size}"
