"""Tables of the resident store. Clear text of a resident stands in none of them.

A record is row `slot` of a page; its id is page id × 128 + slot. Records have no table of their
own: at a million rows a load, nine b-trees over single rows cost more than everything else
together, so the index lies packed beside each page (`slots`) and search keys lie in sorted blocks.
`resident_store_search_key` (plain SQL in the first migration: a b-tree and nothing else) holds the
search keys of small loads.
"""

from __future__ import annotations

from django.db import models

from bcl.foundation.fields import TenantField


class Load(models.Model):
    """One applied transmission. `load_number` counts from 1 per municipality without a gap."""

    municipality_code = TenantField()
    load_number = models.IntegerField()
    lane = models.CharField(max_length=8)
    sequence = models.BigIntegerField()
    transmission_id = models.CharField(max_length=64)
    mode = models.CharField(max_length=16)
    as_of = models.DateTimeField()
    applied_at = models.DateTimeField()
    interface_version = models.CharField(max_length=16)
    counts = models.JSONField()

    class Meta:
        verbose_name = "反映"
        constraints = [
            models.UniqueConstraint(
                fields=["municipality_code", "load_number"], name="resident_store_load_number_once"
            ),
            models.UniqueConstraint(
                fields=["municipality_code", "lane", "sequence"],
                name="resident_store_sequence_applied_once",
            ),
        ]


class Page(models.Model):
    """128 records of one file of one load, sealed as one; `slots` index them.

    `live` is a bitmap of the records still in force (slot 0 in the lowest bit), the only thing
    that ever changes. `crc32` and `clear_size` are those of the clear page.
    """

    id = models.BigIntegerField(primary_key=True)
    municipality_code = TenantField()
    file_id = models.CharField(max_length=4)
    load_number = models.IntegerField()
    page_number = models.IntegerField()
    key_version = models.IntegerField()
    rows = models.SmallIntegerField()
    clear_size = models.IntegerField()
    crc32 = models.BigIntegerField()
    live = models.BinaryField()
    live_rows = models.SmallIntegerField()
    slots = models.BinaryField()
    sealed = models.BinaryField()

    class Meta:
        verbose_name = "頁"
        constraints = [
            models.UniqueConstraint(
                fields=["municipality_code", "file_id", "load_number", "page_number"],
                name="resident_store_page_place_once",
            ),
            models.CheckConstraint(
                condition=models.Q(rows__gte=1) & models.Q(rows__lte=128)
                & models.Q(live_rows__gte=0) & models.Q(live_rows__lte=models.F("rows")),
                name="resident_store_page_rows_in_range",
            ),
        ]


class EndedRecord(models.Model):
    """A record version that load `until_load` ended; once ended, never again in force."""

    record_id = models.BigIntegerField(primary_key=True)
    municipality_code = TenantField()
    file_id = models.CharField(max_length=4)
    until_load = models.IntegerField()
    record_key = models.UUIDField()
    person_key = models.BigIntegerField()
    household_key = models.BigIntegerField()

    class Meta:
        verbose_name = "終了した記録"
        indexes = [
            models.Index(
                fields=["municipality_code", "until_load"], name="resident_store_ended_load_idx"
            )
        ]


class SearchSegment(models.Model):
    """A run of search keys that one large load wrote in sorted blocks."""

    id = models.BigIntegerField(primary_key=True)
    municipality_code = TenantField()
    file_id = models.CharField(max_length=4)
    load_number = models.IntegerField()
    entries = models.BigIntegerField()

    class Meta:
        verbose_name = "検索区分"
        indexes = [
            models.Index(
                fields=["municipality_code", "file_id"], name="resident_store_segment_idx"
            )
        ]


class SearchBlock(models.Model):
    """Up to 512 sorted pairs (search key, record id), 8 bytes each, big-endian, keys first."""

    municipality_code = TenantField()
    segment_id = models.BigIntegerField()
    first_key = models.BigIntegerField()
    last_key = models.BigIntegerField()
    entries = models.BinaryField()

    class Meta:
        verbose_name = "検索ブロック"
        indexes = [
            models.Index(fields=["segment_id", "last_key"], name="resident_store_block_last_idx")
        ]


class FragmentSegment(models.Model):
    """A run of pages of one file whose names and addresses are searchable by fragments.

    `pages` holds the page ids, 8 bytes each, big-endian, ascending; a record's ordinal in the
    segment is place of its page × 128 + slot. Segments of a file never overlap and leave no page
    out up to the last one. `stale`: retention has deleted something; it is to be built again.
    `complete`: no page of `last_load` lies behind it.
    """

    id = models.BigIntegerField(primary_key=True)
    municipality_code = TenantField()
    file_id = models.CharField(max_length=4)
    first_page = models.BigIntegerField()
    last_page = models.BigIntegerField()
    last_load = models.IntegerField()
    page_count = models.IntegerField()
    pages = models.BinaryField()
    stale = models.BooleanField(default=False)
    complete = models.BooleanField(default=False)

    class Meta:
        verbose_name = "断片索引の区分"
        constraints = [
            models.UniqueConstraint(
                fields=["municipality_code", "file_id", "first_page"],
                name="resident_store_fragment_once",
            )
        ]


class FragmentBlock(models.Model):
    """Blind fragment keys in order and, for each, the records that have it; sealed as a whole."""

    municipality_code = TenantField()
    segment_id = models.BigIntegerField()
    first_key = models.BigIntegerField()
    last_key = models.BigIntegerField()
    sealed = models.BinaryField()

    class Meta:
        verbose_name = "断片索引のブロック"
        indexes = [
            models.Index(fields=["segment_id", "last_key"], name="resident_store_frag_last_idx")
        ]


class HeldHousehold(models.Model):
    """A household that broke a rule after a load: no certificate for any member (D7)."""

    municipality_code = TenantField()
    household_key = models.BigIntegerField()
    rule = models.CharField(max_length=8)
    since_load = models.IntegerField()
    until_load = models.IntegerField(null=True)

    class Meta:
        verbose_name = "保留中の世帯"
        constraints = [
            models.UniqueConstraint(
                fields=["municipality_code", "household_key", "rule"],
                condition=models.Q(until_load=None),
                name="resident_store_household_held_once",
            )
        ]


class HeldPerson(models.Model):
    """A person whose record can't be relied on: an unknown code or a row that was held (D9).

    `household_key` is set where the whole household is held with the person, else 0.
    """

    municipality_code = TenantField()
    person_key = models.BigIntegerField()
    household_key = models.BigIntegerField(default=0)
    file_id = models.CharField(max_length=4)
    record_key = models.UUIDField()
    code = models.CharField(max_length=64)
    line = models.BigIntegerField(default=0)
    column = models.CharField(max_length=120, blank=True, default="")
    rule = models.CharField(max_length=60, blank=True, default="")
    since_load = models.IntegerField()
    until_load = models.IntegerField(null=True)

    class Meta:
        verbose_name = "保留中の人"
        indexes = [
            models.Index(
                fields=["person_key"], condition=models.Q(until_load=None),
                name="resident_store_person_held_idx",
            ),
            models.Index(
                fields=["household_key"], condition=models.Q(until_load=None),
                name="resident_store_person_house_idx",
            ),
            models.Index(
                fields=["municipality_code", "record_key"], condition=models.Q(until_load=None),
                name="resident_store_held_record_idx",
            ),
        ]


class SealImage(models.Model):
    """A seal impression (印影), sealed on its own, found by the keyed digest of its bytes (D19)."""

    municipality_code = TenantField()
    image_key = models.UUIDField()
    load_number = models.IntegerField()
    sealed = models.BinaryField()

    class Meta:
        verbose_name = "印影画像"
        constraints = [
            models.UniqueConstraint(
                fields=["municipality_code", "image_key"], name="resident_store_seal_image_once"
            )
        ]


class HistoryStart(models.Model):
    """The earliest load whose state is still whole: retention has deleted what ended before."""

    municipality_code = TenantField(unique=True)
    load_number = models.IntegerField()
    moved_at = models.DateTimeField()

    class Meta:
        verbose_name = "履歴の始まり"
