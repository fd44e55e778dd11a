"""What issuing subscribes to: files and columns of the linkage interface, nothing more.

Data minimisation as data (R-044): a column that no certificate and no decision needs is not
listed here and therefore never reaches the projection.
"""

from __future__ import annotations

from collections.abc import Mapping

RESIDENTS = "J01"
MEASURES = "J04"
CARD_LINKS = "J05"
BLOCKS = "J06"
SEALS = "S01"
SEAL_IMAGES = "S02"
TAX_PAYERS = "T01"
TAX_ASSESSMENTS = "T02"
TAX_INCOMES = "T03"
TAX_DEDUCTIONS = "T04"
TAX_AMOUNTS = "T05"
TAX_DEPENDENTS = "T06"
TAX_PAYMENTS = "T07"
# Amounts by code: the file, its list as `TaxYearRecord` names it, and the column of the code.
TAX_LISTS = {
    TAX_INCOMES: ("income", "income_code"),
    TAX_DEDUCTIONS: ("deduction", "deduction_code"),
    TAX_AMOUNTS: ("amount", "tax_amount_code"),
}
TAXES = (TAX_PAYERS, TAX_ASSESSMENTS, *TAX_LISTS, TAX_DEPENDENTS, TAX_PAYMENTS)
# Files that keep their history in the feed: only the newest row of a record counts.
WITH_HISTORY = frozenset({RESIDENTS, MEASURES, SEALS, *TAXES} - {TAX_PAYMENTS})


def _dated(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}{end}" for name in names for end in ("", "_unknown", "_as_written"))


_ADDRESS_PARTS = ("prefecture", "municipality_name", "town", "lot_as_written", "building")

_TAX_KEY = ("addressee_number", "tax_year", "latest", "deleted")

COLUMNS: Mapping[str, tuple[str, ...]] = {
    RESIDENTS: (
        "addressee_number",
        "latest",
        "household_number",
        "entry_order",
        "resident_kind",
        "resident_state",
        "resident_record_code",
        "full_name",
        "full_name_roman",
        "full_name_kanji",
        "full_name_kana",
        "full_name_kana_confirmation",
        "former_surname",
        "alias",
        "sex_as_written",
        *_dated("born_on"),
        "relationship_code_1",
        "relationship_as_written",
        "head_of_household_name",
        *(f"address_{part}" for part in _ADDRESS_PARTS),
        *_dated("became_resident_on", "address_established_on", "became_foreign_resident_on"),
        "address_established_notified_on",
        *(f"address_before_moving_in_{part}" for part in _ADDRESS_PARTS),
        "address_before_moving_in_country_name",
        "address_before_moving_in_overseas_address",
        *(f"address_before_relocation_{part}" for part in _ADDRESS_PARTS),
        "registered_domicile",
        "family_register_head",
        "moving_out_planned_on",
        "moving_out_confirmed_on",
        "nationality_name",
        "article_30_45_kind",
        "residence_status_name",
        "residence_period_years",
        "residence_period_months",
        "residence_period_days",
        "residence_period_as_written",
        "residence_period_expires_on",
        "residence_card_number",
        "removed_record",
        "resident_record_remarks",
        "change_pending",
        "deleted",
    ),
    MEASURES: (
        "addressee_number",
        "latest",
        "measure_started_on",
        "measure_ended_on",
        "measure_kind",
        "measure_target_kind",
        "deleted",
    ),
    CARD_LINKS: (
        "addressee_number",
        "digital_certificate_kind",
        "serial_number",
        "issuer_key",
        "valid_from_on",
        "expires_on",
        "link_status",
        "revoked_on",
        "deleted",
    ),
    BLOCKS: (
        "block_id",
        "block_scope",
        "addressee_number",
        "household_number",
        "seal_registration_number",
        "tax_year",
        "certificate_kind",
        "block_reason",
        "block_starts_at",
        "block_ends_at",
        "deleted",
    ),
    SEALS: (
        "seal_registration_number",
        "latest",
        "addressee_number",
        "seal_status",
        "registered_name_kind",
        "registered_name",
        "former_surname",
        "alias",
        "full_name_kana_as_written",
        "seal_image_number",
        "deleted",
    ),
    SEAL_IMAGES: (
        "seal_registration_number",
        "seal_image_number",
        "image_dots_per_inch",
        "image_width_pixels",
        "image_height_pixels",
        "image_sha256",
        "deleted",
    ),
    TAX_PAYERS: (
        *_TAX_KEY,
        "unreported_kind",
        "taxed_elsewhere_kind",
        "assessment_date_full_name",
        "assessment_date_address",
        "certifiable",
        "certifiable_from_on",
    ),
    TAX_ASSESSMENTS: (*_TAX_KEY, "taxation_kind", "annual_tax_amount", "revision_in_progress"),
    TAX_INCOMES: (*_TAX_KEY, "income_code", "amount"),
    TAX_DEDUCTIONS: (*_TAX_KEY, "deduction_code", "amount"),
    TAX_AMOUNTS: (*_TAX_KEY, "tax_amount_code", "amount"),
    TAX_DEPENDENTS: (
        *_TAX_KEY,
        "same_livelihood_spouse",
        "specific_dependents",
        "cohabiting_elderly_parents",
        "elderly_dependents",
        "other_dependents",
        "dependents_under_16",
        "ordinary_disability_dependents",
        "special_disability_dependents",
        "cohabiting_special_disability_dependents",
        "own_disability",
        "widow",
        "single_parent",
        "working_student",
    ),
    TAX_PAYMENTS: (
        "addressee_number",
        "tax_kind",
        "tax_year",
        "collection_kind",
        "term_number",
        "due_on",
        "levied_amount",
        "paid_amount",
        "unpaid_amount",
        "deleted",
    ),
}
