"""What VEP and vcfanno ask of an annotated VCF, checked by pysam, as they are not installed here."""

from __future__ import annotations

import re
from pathlib import Path

import pysam
import pytest
from paths import ROOT
from variant_world import LENGTH, bgzip, random_sequence, tiny_net, write_fasta, write_vcf

import kipoi_mcdropout as mcd

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib  # type: ignore[no-redef, unused-ignore]

PAGE = (ROOT / "docs" / "how_to" / "annotation_programs.md").read_text()
SEQUENCE = random_sequence(120, 4)


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An annotated VCF with one and two ALT alleles and a skipped one, with its index."""
    folder = tmp_path_factory.mktemp("annotated")
    records = []
    for pos in (30, 44, 60, 75):
        ref = SEQUENCE[pos - 1]
        alts = [base for base in "ACGT" if base != ref][: 1 + (pos % 2 == 0)]
        records.append(f"1 {pos} v{pos} {ref} {'<DEL>' if pos == 60 else ','.join(alts)} . . .")
    vcf = write_vcf(folder / "in.vcf", records, {"1": 120})
    model = mcd.Model(tiny_net(), outputs=["FOXA2", "DNase", "CTCF"], input_shape=(4, LENGTH))
    fasta = write_fasta(folder / "g.fa", {"1": SEQUENCE})
    mcd.score_variants(model, vcf, fasta, n_draws=3, scores=["diff"], output=folder / "out.vcf.gz")
    pysam.tabix_index(str(folder / "out.vcf.gz"), preset="vcf")
    return folder / "out.vcf.gz"


def asked_of_vep() -> list[str]:
    (fields,) = re.findall(r"format=vcf,type=exact,coords=0,fields=(\S+)", PAGE)
    names: list[str] = fields.split("%")
    return names


def asked_of_vcfanno() -> list[str]:
    (text,) = re.findall(r"<!-- file: mcdropout\.toml -->\n```text\n(.*?)```", PAGE, re.DOTALL)
    (block,) = tomllib.loads(text)["annotation"]
    assert len(block["fields"]) == len(block["names"]) == len(block["ops"])
    assert set(block["ops"]) == {"self"}
    assert block["file"] == "annotated.vcf.gz"
    fields: list[str] = block["fields"]
    return fields


@pytest.mark.parametrize("names", [asked_of_vep(), asked_of_vcfanno()], ids=["VEP", "vcfanno"])
def test_the_fields_are_there_as_numbers_of_each_allele(names: list[str], annotated: Path) -> None:
    with pysam.VariantFile(str(annotated)) as file:
        assert len(names) == 2
        for name in names:
            assert (file.header.info[name].type, file.header.info[name].number) == ("Float", "A")
        for record in file:
            assert record.alts is not None
            for name in names:  # VEP takes the number of an allele only if there is one for each ALT
                values = record.info.get(name)
                assert values is None if record.pos == 60 else len(values) == len(record.alts)


def test_the_file_is_sorted_compressed_by_blocks_and_indexed(annotated: Path) -> None:
    assert annotated.read_bytes()[:4] == bgzip(b"x")[:4] == b"\x1f\x8b\x08\x04"  # with an extra field
    with pysam.VariantFile(str(annotated)) as file:
        positions = [record.pos for record in file]
        assert positions == sorted(positions) == [30, 44, 60, 75]
        assert [record.pos for record in file.fetch("1", 40, 60)] == [44, 60]


def test_vep_takes_percent_signs_and_commas_for_separators(annotated: Path) -> None:
    """So an ID must have none, whatever the label of the output is."""
    with pysam.VariantFile(str(annotated)) as file:
        ours = [name for name in file.header.info if name.startswith("MCD_")]
        assert len(ours) > 15
        assert not [name for name in ours if set(name) & set("%,=; ")]
