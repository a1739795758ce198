"""Valid files are read whole; invalid ones are refused by file and line, or read as by htslib."""

from __future__ import annotations

from pathlib import Path

import pytest
from conformance_table import OutcomeOfFile, outcomes
from variant_world import body

# Refused: what cannot be told apart into records and alleles. All else is read: mistakes in what is
# carried over untouched (IDs, QUAL, INFO, meta lines, samples), or alleles that go to the ledger.
REFUSED = {
    "failed_body_alt_002", "failed_body_chrom_000", "failed_body_chrom_002", "failed_body_pos_000",
    "failed_body_pos_001", "failed_body_pos_002", "failed_body_sample_011", "failed_fileformat_000",
    "failed_header_000", "failed_header_001", "failed_meta_002", "failed_meta_004", "failed_meta_005",
}  # fmt: skip


@pytest.fixture(scope="module")
def results(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[OutcomeOfFile]:
    return list(outcomes(shared_data / "vcf_conformance", tmp_path_factory.mktemp("conformance")))


def test_all_valid_files_are_read_whole(results: list[OutcomeOfFile], shared_data: Path) -> None:
    valid = [row for row in results if row.folder == "valid"]
    assert len(valid) == 25
    for row in valid:
        assert row.error == ""
        assert row.records == len(body(shared_data / "vcf_conformance" / "valid" / row.name))


def test_invalid_files_are_refused_by_file_and_line_or_read_whole(
    results: list[OutcomeOfFile], shared_data: Path
) -> None:
    invalid = [row for row in results if row.folder == "invalid"]
    assert len(invalid) == 189
    assert {row.name.removesuffix(".vcf") for row in invalid if row.error} == REFUSED
    for row in invalid:
        if row.error:
            assert row.error.startswith(f"{row.name}, line "), row
        else:
            assert row.records == len(body(shared_data / "vcf_conformance" / "invalid" / row.name))


def test_no_allele_with_a_mistake_is_scored(results: list[OutcomeOfFile]) -> None:
    """The genome is made up, and REF and ALT that are wrong are in the ledger for what they are."""
    skipped = {row.name.removesuffix(".vcf"): row.skipped for row in results}
    for name, reason in {
        "failed_body_ref_000": "malformed_allele", "failed_body_ref_001": "ambiguous_base",
        "failed_body_ref_002": "malformed_allele", "failed_body_alt_000": "ambiguous_base",
        "failed_body_alt_001": "malformed_allele", "failed_body_alt_003": "symbolic",
        "failed_body_alt_005": "breakend",
    }.items():  # fmt: skip
        assert reason in skipped[name], (name, skipped[name])
