"""A genome that does not belong to the VCF is noticed, and nothing scored is never a success."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest
from toy import Toy, make_toy
from variant_call import score_variants
from variant_world import LENGTH, body, info, random_sequence, tiny_net, write_fasta, write_vcf

from kipoi_mcdropout.cli.commands.score_variants import main
from kipoi_mcdropout.errors import EXIT_OK, EXIT_STRICT, InputError, InputWarning
from kipoi_mcdropout.vcf.score import VariantRun
from kipoi_mcdropout.vcf.write.ledger import SkippedAllelesError

ONE, OTHER = random_sequence(1000, 1), random_sequence(1000, 2)


def snvs(contig: str, sequence: str, n: int = 63, first: int = 50) -> list[str]:
    positions = range(first, first + 10 * n, 10)
    other = {"A": "C", "C": "G", "G": "T", "T": "A"}
    return [f"{contig} {p} . {sequence[p - 1]} {other[sequence[p - 1]]} . . ." for p in positions]


def agreeing(sequence: str, genome: str, n: int = 63, first: int = 50) -> int:
    return sum(sequence[p - 1] == genome[p - 1] for p in range(first, first + 10 * n, 10))


def run(folder: Path, records: list[str], genome: dict[str, str], **options: Any) -> VariantRun:
    vcf = options.pop("vcf", None) or write_vcf(
        folder / "in.vcf", records, options.pop("contigs", {"c": 1000})
    )
    fasta = write_fasta(folder / "g.fa", genome)
    defaults = {"n_draws": 2, "length": LENGTH, "category_axis": 0, "targets": ["0"]}
    return score_variants(tiny_net(), vcf, fasta, folder / "out.vcf", **{**defaults, **options})


def test_a_genome_of_another_assembly_is_refused_with_the_numbers(tmp_path: Path) -> None:
    differ = 63 - agreeing(ONE, OTHER)
    assert 40 <= differ <= 55  # by chance a quarter agrees
    with pytest.raises(InputError, match=rf"{differ} of 63 REF differ .*g\.fa: another assembly"):
        run(tmp_path, snvs("c", ONE), {"c": OTHER})
    assert sorted(os.listdir(tmp_path)) == ["g.fa", "in.vcf"]


def test_what_agrees_by_chance_is_scored_only_if_asked_for_and_then_it_is_told(tmp_path: Path) -> None:
    differ = 63 - agreeing(ONE, OTHER)
    with pytest.warns(InputWarning) as caught:
        result = run(tmp_path, snvs("c", ONE), {"c": OTHER}, ref_mismatch="skip")
    assert result.notices == tuple(str(w.message) for w in caught)
    assert f"{differ} of 63 REF differ" in result.notices[0]
    assert result.ledger.scored == 63 - differ
    words = f"REF of {differ} of 63 alleles differs from the FASTA: another assembly?"
    assert words in result.ledger.summary()
    header = (tmp_path / "out.vcf").read_text()
    noted = json.loads(re.findall("##kipoi_mcdropout=(.*)", header)[0])
    assert noted["reference_check"] == {
        "records": 63, "ref_compared": 63, "ref_differ": differ,
        "contigs_that_differ": {"c": f"{differ} of 63"},
    }  # fmt: skip


def test_a_pipe_with_another_genome_is_stopped(tmp_path: Path) -> None:
    vcf = write_vcf(tmp_path / "in.vcf", snvs("c", ONE), {"c": 1000})
    with subprocess.Popen(["cat", vcf], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        with pytest.raises(InputError, match="of 63 REF differ"):
            run(tmp_path, [], {"c": OTHER}, vcf=f"/dev/fd/{cat.stdout.fileno()}", batch_size=4)
    assert not (tmp_path / "out.vcf").exists()


def test_a_contig_that_is_another_sequence_is_left_out_and_told(tmp_path: Path) -> None:
    """As chrM is in hg19."""
    records = [*snvs("c", ONE), *snvs("M", ONE, n=12)]
    differ = 12 - agreeing(ONE, OTHER, n=12)
    with pytest.warns(InputWarning, match=f"contig M: {differ} of 12 REF differ"):
        result = run(
            tmp_path, records, {"c": ONE, "M": OTHER}, contigs={"c": 1000, "M": 1000}, ref_mismatch="few"
        )
    assert result.ledger.skipped == {"contig_differs": 12}
    assert result.ledger.scored == 63
    assert [info(line).get("MCD_SKIP") for line in body(tmp_path / "out.vcf")] == (
        [None] * 63 + ["contig_differs"] * 12
    )


def test_a_contig_that_is_another_sequence_ends_with_3_in_a_pipe(tmp_path: Path) -> None:
    """Its first alleles may have been scored before this can be known."""
    records = [*snvs("c", ONE), *snvs("M", ONE, n=12)]
    vcf = write_vcf(tmp_path / "in.vcf", records, {"c": 1000, "M": 1000})
    with subprocess.Popen(["cat", vcf], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        with (
            pytest.warns(InputWarning, match="of 12 REF differ|of 75 REF differ"),
            pytest.raises(SkippedAllelesError, match="contigs M: most REF differ"),
        ):
            run(tmp_path, [], {"c": ONE, "M": OTHER}, vcf=f"/dev/fd/{cat.stdout.fileno()}")
    assert len(body(tmp_path / "out.vcf")) == 75


@pytest.mark.parametrize(("n_wrong", "warned"), [(0, False), (3, False), (4, True), (20, True)])
def test_some_that_differ_are_told_and_the_others_scored(
    tmp_path: Path, n_wrong: int, warned: bool
) -> None:
    records = snvs("c", ONE)
    for i in range(n_wrong):
        contig, pos, name, ref, alt, *rest = records[3 * i].split(" ")
        records[3 * i] = " ".join((contig, pos, name, alt, ref, *rest))  # REF and ALT swapped
    if warned:
        with pytest.warns(InputWarning, match=f"{n_wrong} of 63 REF differ"):
            result = run(tmp_path, records, {"c": ONE})
    else:
        result = run(tmp_path, records, {"c": ONE})
        assert result.notices == ()
    assert result.ledger.scored == 63 - n_wrong
    assert ("another assembly?" in result.ledger.summary()) == warned


@pytest.mark.parametrize("length", [0, 300, 301])
def test_a_header_length_that_is_the_last_position_is_not_used(tmp_path: Path, length: int) -> None:
    """PLINK writes such lengths."""
    record = f"c 300 . {ONE[299]} {'A' if ONE[299] != 'A' else 'C'} . . ."
    with pytest.warns(InputWarning, match="contigs c are 0 or end at the last record"):
        result = run(tmp_path, [record], {"c": ONE}, contigs={"c": length})
    assert result.ledger.scored == 1


@pytest.mark.parametrize("length", [302, 999, 1001])
def test_another_header_length_is_told_and_nothing_is_scored(tmp_path: Path, length: int) -> None:
    record = f"c 300 . {ONE[299]} {'A' if ONE[299] != 'A' else 'C'} . . ."
    with pytest.warns(InputWarning) as caught:
        result = run(tmp_path, [record], {"c": ONE}, contigs={"c": length})
    assert result.ledger.skipped == {"contig_length": 1}
    words = [str(w.message) for w in caught]
    assert any(f"VCF header {length}, genome 1000" in w and "--contig_map" in w for w in words)
    assert any("none of 1 alleles was scored: contig_length 1" in w for w in words)
    mapped = run(tmp_path, [record], {"c": ONE}, contig_map={"c": "c"}, overwrite=True)
    assert mapped.ledger.scored == 1


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make_toy(tmp_path_factory.mktemp("toy"))


def arguments(toy: Toy, vcf: Path, folder: Path, *more: str) -> list[str]:
    files = ["-i", str(vcf), "-f", str(toy.fasta), "-o", str(folder / "o.vcf")]
    return [str(toy.model), "--source", "dir", *files, "--n_draws", "2", *more]


def toy_record(toy: Toy, contig: str) -> str:
    base = "".join(toy.fasta.read_text().split("\n")[1:])[30].upper()
    return f"{contig} 31 . {base} {'A' if base != 'A' else 'C'} . . ."


def test_contigs_under_other_names_end_with_3_and_the_remedy(toy: Toy, tmp_path: Path) -> None:
    vcf = write_vcf(tmp_path / "in.vcf", [toy_record(toy, "1")] * 3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert main(arguments(toy, vcf, tmp_path)) == EXIT_STRICT
    words = " ".join(str(w.message) for w in caught if w.category is InputWarning)
    assert "the FASTA has no contigs 1; it has chr1" in words
    assert "none of 3 alleles was scored: contig_unknown 3" in words
    assert [info(line)["MCD_SKIP"] for line in body(tmp_path / "o.vcf")] == ["contig_unknown"] * 3
    names = tmp_path / "names.txt"
    names.write_text("1 chr1\n")
    assert main(arguments(toy, vcf, tmp_path, "--overwrite", "--contig_map", str(names))) == EXIT_OK


def test_no_records_are_no_failure(toy: Toy, tmp_path: Path) -> None:
    vcf = write_vcf(tmp_path / "in.vcf", [], {"chr1": 72})
    assert main(arguments(toy, vcf, tmp_path)) == EXIT_OK
    one = write_vcf(tmp_path / "one.vcf", [toy_record(toy, "chr1")], {"chr1": 72})
    more = ("--overwrite", "--region", "chr1:1-10")
    assert main(arguments(toy, one, tmp_path, *more)) == EXIT_OK


def test_a_malformed_last_line_is_named_before_anything_is_scored(tmp_path: Path) -> None:
    records = [*snvs("c", ONE), "c 900 . A"]
    scored = []
    with pytest.raises(InputError, match=r"in\.vcf, line 67: 8 columns"):
        run(tmp_path, records, {"c": ONE}, batch_size=4, progress=scored.append)
    assert scored == []


def test_windows_line_ends_and_other_bytes_come_back_as_they_came(tmp_path: Path) -> None:
    header = ["##source=caf\u00e9", "##text"]
    vcf = write_vcf(tmp_path / "in.vcf", snvs("c", ONE, 5), {"c": 1000}, header)
    vcf.write_bytes(vcf.read_text().encode("latin-1").replace(b"\n", b"\r\n"))
    with pytest.warns(InputWarning, match="line 3: a header line should be"):
        run(tmp_path, [], {"c": ONE}, vcf=vcf)
    before, after = vcf.read_bytes().split(b"\r\n"), (tmp_path / "out.vcf").read_bytes().split(b"\r\n")
    assert b"\n" not in b"".join(after)
    own = (b"##INFO=<ID=MCD_", b"##kipoi_mcdropout=")
    kept = [line for line in after if not line.startswith(own)]
    assert [line.split(b"\t")[:7] for line in kept] == [line.split(b"\t")[:7] for line in before]
    assert b"##source=caf\xe9" in after


def test_a_bgzipped_genome_gives_the_same_numbers(tmp_path: Path) -> None:
    from variant_world import bgzip

    run(tmp_path, snvs("c", ONE), {"c": ONE})
    expected = body(tmp_path / "out.vcf")
    packed = tmp_path / "g.fa.gz"
    packed.write_bytes(bgzip((tmp_path / "g.fa").read_bytes()))
    result = score_variants(
        tiny_net(), tmp_path / "in.vcf", packed, tmp_path / "out2.vcf", n_draws=2, length=LENGTH,
        category_axis=0, targets=["0"],
    )  # fmt: skip
    assert result.ledger.scored == 63
    assert body(tmp_path / "out2.vcf") == expected


def test_a_pipe_gives_the_same_numbers_as_the_file(tmp_path: Path) -> None:
    run(tmp_path, snvs("c", ONE), {"c": ONE})
    expected = body(tmp_path / "out.vcf")
    (tmp_path / "in.vcf.gz").write_bytes(gzip.compress((tmp_path / "in.vcf").read_bytes()))
    with subprocess.Popen(["cat", tmp_path / "in.vcf.gz"], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        run(tmp_path, [], {"c": ONE}, vcf=f"/dev/fd/{cat.stdout.fileno()}", overwrite=True)
    assert body(tmp_path / "out.vcf") == expected
