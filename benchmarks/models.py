"""Published architectures, small and with random weights: audit, ISM by each engine, and a VCF.

    pip install 'kipoi_mcdropout[models]'
    pip install --no-deps gReLU             # its networks need no other packages than those of Enformer
    python benchmarks/models.py all

    pip install 'kipoi_mcdropout[borzoi]'   # in another environment
    python benchmarks/models.py borzoi

Each network has the code of its own package, with smaller sizes. For each, the audit is printed, a few
positions are mutated by each engine, and a VCF of three alleles is scored. The exit code is 1 if

- an engine differs from `full` by more than 1e-5 of the largest output,
- the outputs with dropout off differ as much from those of the plain network in evaluation mode,
- a base "mutated" to itself has an effect other than 0, or dropout makes no difference at all, or
- an allele of the VCF is neither scored nor skipped.

A package that is not installed is skipped, with the command that installs it.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

import kipoi_mcdropout as mcd

BAR = 1e-5
ENGINES = ("full", "auto", "incremental")
COMPARED = ["ref_mean", "ref_point", "alt_mean", "alt_point", "effect_mean", "effect_sd"]
TOKENS = "A=7,C=8,G=9,T=10,N=11,prefix=0,suffix=1"


@dataclass(frozen=True)
class Architecture:
    """A small network of a package, and what `Model` must be told of it."""

    package: str  # as it is imported
    install: str
    build: Callable[[], nn.Module]
    length: int  # bp
    settings: dict[str, Any]
    n_positions: int = 40  # that are mutated, in the middle
    targets: tuple[str, ...] | None = None  # a few outputs
    extra_inputs: dict[str, list[int]] = field(default_factory=dict)  # of one sequence
    # Outputs of the plain network for one input, as they stand in the table: batch first, flat.
    plain: Callable[[Any], torch.Tensor] = field(default=lambda outputs: outputs.flatten(1))


def enformer() -> nn.Module:
    from enformer_pytorch import Enformer

    return Enformer.from_hparams(
        dim=96, depth=2, heads=4, attn_dim_key=16, dim_divisible_by=8, target_length=8,
        output_heads={"human": 12, "mouse": 5},
    )  # fmt: skip


def borzoi() -> nn.Module:
    from borzoi_pytorch import Borzoi

    net = Borzoi.from_hparams(
        dim=64, depth=2, heads=2, attn_dim_key=16, attn_dim_value=16, bins_to_return=32
    )
    net.set_track_subset([0, 10, 20])  # of 7,611
    return net


def grelu() -> nn.Module:
    from grelu.model.models import ConvModel

    return ConvModel(
        n_tasks=3, n_conv=3, dropout=0.2, pool_func="max", pool_size=2, norm=True, residual=True
    )


_TOKEN_SIZES: dict[str, Any] = {
    "vocab_size": 12, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64, "num_labels": 3, "max_position_embeddings": 300,
    "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "pad_token_id": 3,
}  # fmt: skip


def bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    return BertForSequenceClassification(BertConfig(**_TOKEN_SIZES))


def esm() -> nn.Module:
    from transformers import EsmConfig, EsmForSequenceClassification

    return EsmForSequenceClassification(
        EsmConfig(**_TOKEN_SIZES, mask_token_id=4, position_embedding_type="rotary")
    )


def _tokens(build: Callable[[], nn.Module]) -> Architecture:
    return Architecture(
        "transformers", "transformers", build, 100,
        {"vocabulary": TOKENS, "length": 100, "model_input": "input_ids"},
        extra_inputs={"attention_mask": [1] * 102},
        plain=lambda outputs: outputs.logits,
    )  # fmt: skip


def _one_hot(*shape: int) -> dict[str, Any]:
    return {"input_shape": shape, "unknown": "zero"}  # as enformer-pytorch and gReLU make an N


ARCHITECTURES = {
    "enformer": Architecture(
        "enformer_pytorch", "enformer-pytorch", enformer, 2048, _one_hot(2048, 4),
        n_positions=10,
        targets=("human/4,0", "human/4,11", "mouse/3,2"),
        plain=lambda heads: torch.stack(
            [heads["human"][:, 4, 0], heads["human"][:, 4, 11], heads["mouse"][:, 3, 2]], 1
        ),
    ),
    "borzoi": Architecture(
        "borzoi_pytorch", "borzoi-pytorch", borzoi, 2048, _one_hot(4, 2048),
        n_positions=10,
        targets=("0,15", "1,16", "2,17"),
        plain=lambda tracks: torch.stack([tracks[:, 0, 15], tracks[:, 1, 16], tracks[:, 2, 17]], 1),
    ),
    "grelu": Architecture(
        "grelu", "--no-deps gReLU", grelu, 500, _one_hot(4, 500)
    ),
    "bert": _tokens(bert),
    "esm": _tokens(esm),
}  # fmt: skip


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="+", metavar="NAME", choices=[*ARCHITECTURES, "all"])
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--positions", type=int, help="that are mutated, in the middle of the sequence")
    return parser


def network(architecture: Architecture) -> nn.Module:
    """With random weights, also those that the package sets to 0, so that no layer is without effect."""
    torch.manual_seed(0)
    net = architecture.build()
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.05)
    return net.eval()


def inputs_of(codes: np.ndarray, architecture: Architecture) -> Any:
    """Sequences of codes 0 to 3 as the network takes them."""
    if "vocabulary" in architecture.settings:
        ends = [(0, 0), (0, 1)]  # [CLS] is 0, [SEP] is 1
        extra = architecture.extra_inputs.items()
        return {
            "input_ids": np.pad(codes + 7, [(0, 0), (1, 1)], constant_values=ends),
            **{name: np.repeat([values], len(codes), 0) for name, values in extra},
        }
    one_hot = np.eye(4, dtype=np.float32)[codes]
    last = architecture.settings["input_shape"][-1] == 4
    return one_hot if last else one_hot.transpose(0, 2, 1).copy()


def relative(a: np.ndarray, b: np.ndarray, largest: float) -> float:
    return float(np.abs(a - b).max() / largest)


def plain_outputs(
    net: nn.Module, architecture: Architecture, codes: np.ndarray, table: pd.DataFrame
) -> np.ndarray:
    """Outputs of the plain network for each mutant of the table, in the table's order."""
    mutants = table.drop_duplicates(["position", "alt"])
    made = np.repeat(codes, len(mutants), 0)
    made[np.arange(len(mutants)), mutants["position"]] = ["ACGT".index(base) for base in mutants["alt"]]
    x = inputs_of(made, architecture)
    with torch.inference_mode():
        if isinstance(x, dict):
            outputs = net(**{name: torch.from_numpy(array) for name, array in x.items()})
        else:
            outputs = net(torch.from_numpy(x))
    return architecture.plain(outputs).numpy().ravel()


def check_ism(
    model: mcd.Model, net: nn.Module, architecture: Architecture, options: argparse.Namespace
) -> list[str]:
    """ISM by each engine; returns what is wrong."""
    codes = np.random.default_rng(0).integers(0, 4, (1, architecture.length))
    start = architecture.length // 2
    n_positions = options.positions or architecture.n_positions
    mutation = mcd.MutationOptions(start, start + n_positions, include_reference=True)
    wrong, whole, largest = [], None, 0.0
    for engine in ENGINES:
        began = time.perf_counter()
        try:
            effects = mcd.ism(
                model, inputs_of(codes, architecture), n_draws=options.draws, seed=0,
                targets=architecture.targets, options=mutation, running=mcd.RunOptions(engine=engine),
            )  # fmt: skip
        except mcd.McDropoutError as error:
            if engine != "incremental":
                raise
            print(f"ISM, {engine}: cannot run, {error}")
            continue
        table = effects.table()
        record = effects.provenance
        said = f"ISM, {engine}: {time.perf_counter() - began:.2f} s, {len(table)} rows"
        if engine == "auto":
            said += f", took {record['options']['engine_used']} ({record.get('engine_reason')})"
        if whole is None:
            whole = table
            largest = float(table[["ref_mean", "alt_mean"]].abs().to_numpy().max())
            plain = plain_outputs(net, architecture, codes, table)
            difference = relative(plain, table["alt_point"].to_numpy(), largest)
            said += f", from the plain network {difference:.1e} of the largest output"
        else:
            difference = relative(table[COMPARED].to_numpy(), whole[COMPARED].to_numpy(), largest)
            said += f", from full {difference:.1e} of the largest output"
        print(said, flush=True)
        wrong += [f"{engine} differs by {difference:.1e}"] * (not difference <= BAR)
        null = table[table["ref"] == table["alt"]]
        if null.empty or null[["effect_mean", "effect_sd", "effect_point"]].to_numpy().any():
            wrong.append(f"{engine}: a null effect is not exactly 0")
        if not (table.loc[table["ref"] != table["alt"], "effect_sd"] > 0).any():
            wrong.append(f"{engine}: dropout makes no difference")
    return wrong


def check_vcf(model: mcd.Model, architecture: Architecture, options: argparse.Namespace) -> list[str]:
    """A substitution, a deletion, and an allele without a sequence; returns what is wrong."""
    length = 2 * architecture.length
    genome = "".join("ACGT"[code] for code in np.random.default_rng(1).integers(0, 4, length))
    place = architecture.length
    ref = genome[place]
    alt = "C" if ref != "C" else "G"
    records = [
        (place + 1, ref, alt), (place + 11, genome[place + 10 : place + 13], genome[place + 10]),
        (place + 31, genome[place + 30], "<DEL>"),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        fasta, vcf, skipped = (Path(folder) / name for name in ("genome.fa", "in.vcf", "skipped.tsv"))
        fasta.write_text(f">chr1\n{genome}\n")
        header = (
            f"##fileformat=VCFv4.2\n##contig=<ID=chr1,length={length}>\n"
            '##ALT=<ID=DEL,Description="Deletion">\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n'
        )
        lines = [f"chr1\t{pos}\t.\t{r}\t{a}\t.\t.\t.\n" for pos, r, a in records]
        vcf.write_text(header + "".join(lines))
        began = time.perf_counter()
        effects = mcd.score_variants(
            model, vcf, fasta, n_draws=options.draws, seed=0, targets=architecture.targets,
            vcf_options=mcd.VcfOptions(skipped=skipped),
        )  # fmt: skip
        seconds = time.perf_counter() - began
        table = effects.table()
        n_scored = len(table.drop_duplicates(["pos", "ref", "alt"]))
        n_skipped = len(pd.read_csv(skipped, sep="\t"))
    print(f"VCF: {seconds:.2f} s, {len(records)} alleles = {n_scored} scored + {n_skipped} skipped")
    return [] if (n_scored, n_skipped) == (2, 1) else ["alleles of the VCF are lost"]


def check(name: str, options: argparse.Namespace) -> list[str]:
    architecture = ARCHITECTURES[name]
    print(f"\n== {name}", flush=True)
    if importlib.util.find_spec(architecture.package) is None:
        print(f"skipped: {architecture.package} is not installed; pip install {architecture.install}")
        return []
    began = time.perf_counter()
    net = network(architecture)
    model = mcd.Model(net, **architecture.settings)
    if architecture.extra_inputs:
        model = model.with_extra_inputs(**architecture.extra_inputs)
    print(str(mcd.audit(model)).split("\n\nbefore the first site")[0])
    n_weights = sum(parameter.numel() for parameter in net.parameters())
    print(f"\naudit, with the import: {time.perf_counter() - began:.2f} s, {n_weights:,} weights")
    wrong = check_ism(model, net, architecture, options) + check_vcf(model, architecture, options)
    print("as it must be" if not wrong else "WRONG: " + "; ".join(wrong), flush=True)
    return wrong


def main() -> int:
    options = get_parser().parse_args()
    names = list(ARCHITECTURES) if "all" in options.names else options.names
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="transformers")
        wrong = {name: check(name, options) for name in names}
    return int(any(wrong.values()))


if __name__ == "__main__":
    sys.exit(main())
