"""Models whose rows are not A, C, G, T, such as DeepSEA/beluga: what the dataloader says is heeded."""

from __future__ import annotations

import json
from pathlib import Path

import kipoi
import numpy as np
import pandas as pd
import pytest
import torch
from toy import Toy, make_toy
from variant_call import score_variants

from kipoi_mcdropout import MCDropoutISM
from kipoi_mcdropout.cli import cli_main
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.adapter import alphabet_of, as_alphabet

ORDER = [0, 2, 1, 3]  # of A, G, C, T in A, C, G, T


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Toy, Toy]:
    """The same model twice; the second takes rows A, G, C, T, as its dataloader gives them."""
    plain = make_toy(tmp_path_factory.mktemp("plain"))
    other = make_toy(tmp_path_factory.mktemp("other"))
    loader = other.model / "dataloader.py"
    text = loader.read_text().replace("intervals_file):", 'intervals_file, alphabet="AGCT"):', 1)
    text = text.replace("        self.path", "        self.letters = alphabet\n        self.path", 1)
    loader.write_text(text.replace('in "ACGT"]', "in self.letters]", 1))
    yaml = other.model / "dataloader.yaml"
    yaml.write_text(
        yaml.read_text().replace("{doc: BED}", "{doc: BED}\n  alphabet: {doc: order, optional: True}", 1)
    )
    weights = torch.load(other.model / "weights.pt")
    weights["conv.weight"] = weights["conv.weight"][:, ORDER]
    torch.save(weights, other.model / "weights.pt")
    return plain, other


def ism(toy: Toy, path: Path, *more: str) -> pd.DataFrame:
    data = ["--dataloader_args", json.dumps(toy.dataloader_args), "--model_input", "seq"]
    words = ["ism", str(toy.model), "--source", "dir", *data, "--n_draws", "3", "-o", str(path), *more]
    cli_main("mcdropout", words)
    table = pd.read_parquet(path)
    return table.sort_values(["sequence", "position", "alt", "output"]).reset_index(drop=True)


def test_ism_names_the_bases_as_they_are(toys: tuple[Toy, Toy], tmp_path: Path) -> None:
    tables = [ism(toy, tmp_path / f"{i}.parquet") for i, toy in enumerate(toys)]
    assert set(tables[1]["alt"]) == set("ACGT")
    pd.testing.assert_frame_equal(*tables, rtol=1e-4)


def test_variants_are_encoded_as_the_model_takes_them(toys: tuple[Toy, Toy], tmp_path: Path) -> None:
    vcf = tmp_path / "in.vcf"
    genome = toys[0].fasta.read_text().splitlines()[1].upper()
    lines = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    for pos in range(14, 50):
        alts = ",".join(base for base in "ACGT" if base != genome[pos - 1])
        lines.append(f"chr1\t{pos}\t.\t{genome[pos - 1]}\t{alts}\t.\t.\t.")
    vcf.write_text("\n".join(lines) + "\n")
    tables = []
    for i, toy in enumerate(toys):
        table = tmp_path / f"{i}.parquet"
        model = kipoi.get_model(str(toy.model), source="dir")
        score_variants(model, vcf, toy.fasta, table=table, n_draws=3, rc=True)
        tables.append(pd.read_parquet(table))
    assert len(tables[0]) == 3 * 3 * 36
    pd.testing.assert_frame_equal(*tables, rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match="A, C, G and T in some order"):
        score_variants(model, vcf, toy.fasta, table=table, alphabet="ACGU", overwrite=True)
    score_variants(
        model, vcf, toy.fasta, table=table, n_draws=3, rc=True, alphabet="ACGT", overwrite=True
    )
    wrong = pd.read_parquet(table)
    assert not np.allclose(wrong["effect_mean"], tables[1]["effect_mean"], atol=1e-3)


@pytest.mark.parametrize("command", ["score_variants", "ism", "predict"])
def test_the_commands_ask_the_dataloader_for_the_order(
    command: str, toys: tuple[Toy, Toy], tmp_path: Path
) -> None:
    """Also where a VCF or a genome gives the windows, and the dataloader is not run."""
    genome = toys[0].fasta.read_text().splitlines()[1].upper()
    (tmp_path / "in.vcf").write_text(
        "##fileformat=VCFv4.2\n##contig=<ID=chr1,length=72>\n"
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        f"chr1\t20\t.\t{genome[19]}\t{'A' if genome[19] != 'A' else 'C'}\t.\t.\t.\n"
    )
    tables = []
    for i, toy in enumerate(toys):
        output = str(tmp_path / f"{i}.parquet")
        files = ["--regions", str(toy.bed), "-o", output]
        if command == "score_variants":
            files = ["-i", str(tmp_path / "in.vcf"), "-t", output]
        words = [str(toy.model), "-f", str(toy.fasta), *files, "--n_draws", "3"]
        cli_main("mcdropout", [command, *words])
        tables.append(pd.read_parquet(output))
    keys = [name for name in ("name", "position", "alt", "output") if name in tables[0]]
    tables = [table.sort_values(keys).reset_index(drop=True) for table in tables]
    pd.testing.assert_frame_equal(*tables, rtol=1e-4, atol=1e-6)


def test_where_the_alphabet_comes_from(toys: tuple[Toy, Toy], tmp_path: Path) -> None:
    plain, other = (kipoi.get_model(str(toy.model), source="dir") for toy in toys)
    assert (alphabet_of(plain), alphabet_of(other)) == ("ACGT", "AGCT")
    assert MCDropoutISM(other, "seq", n_draws=2).options.alphabet == "AGCT"
    assert MCDropoutISM(other, "seq", n_draws=2, alphabet="tgca").options.alphabet == "TGCA"
    assert alphabet_of(object()) == "ACGT"
    assert as_alphabet("DNA") == "ACGT"
    assert as_alphabet(["A", "G", "C", "T"]) == "AGCT"
    assert as_alphabet(None) is None
    assert as_alphabet(4) is None
    with pytest.raises(InputError, match="different letters"):
        MCDropoutISM(other, "seq", n_draws=2, alphabet="AACG")
    stated = ism(toys[1], tmp_path / "stated.parquet", "--alphabet", "ACGT")
    assert (stated["ref"] == "G").sum() != (ism(toys[1], tmp_path / "d.parquet")["ref"] == "G").sum()


def test_the_bridge_to_kipoi_veff_refuses_another_order(toys: tuple[Toy, Toy]) -> None:
    from kipoi_mcdropout.veff.evaluation import McDropoutEffects

    model = kipoi.get_model(str(toys[1].model), source="dir")
    x = np.zeros((1, 24, 4), np.float32)
    with pytest.raises(InputError, match="kipoi-veff writes A, C, G, T"):
        McDropoutEffects(n_draws=2)(model, ref={"seq": x}, alt={"seq": x})
