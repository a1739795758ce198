"""ISM and a VCF of a model that gives profiles: engines, members, shards, resume, files, the record."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from profile_world import LENGTH, TRACKS, OneHead, profile_net, sequences, write_files
from scipy.spatial.distance import jensenshannon
from torch.multiprocessing.reductions import StorageWeakRef
from variant_world import random_sequence, write_fasta, write_vcf

import kipoi_mcdropout as mcd
from kipoi_mcdropout.cli import interpret_ism, run
from kipoi_mcdropout.dropout.locked_model import POINT, locked_forward
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.vcf.place.chunks import chunk_alleles

WORDS: dict[str, Any] = {"head": "profile", "tracks": ["plus", "total"], "reduce": ["sum@16", "max"]}
FLAGS = [
    "--outputs", *TRACKS, "--head", "profile", "--tracks", "plus", "total", "--reduce", "sum@16", "max",
]  # fmt: skip
START, END = 28, 34


def cli(words: list[str]) -> int:
    """Exit code of `kipoi mcdropout` with these words."""
    try:
        run(words[0], f"kipoi mcdropout {words[0]}", words[1:])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def mutants(x: np.ndarray) -> np.ndarray:
    """All substitutions of a sequence at START to END, in the order of the rows."""
    made = []
    for position in range(START, END):
        for base in range(4):
            if x[0, base, position] == 0:
                mutant = x[0].copy()
                mutant[:, position] = 0
                mutant[base, position] = 1
                made.append(mutant)
    return np.stack(made)


def reduced(net: torch.nn.Module, x: np.ndarray, draw: int, seed: int) -> torch.Tensor:
    """The outputs of WORDS, made of the whole profiles of the oracle, in float64."""
    profile = locked_forward(OneHead(net), torch.from_numpy(x), draw, seed).double()
    profile = profile.reshape(len(x), 3, LENGTH)[:, [0, 2]]
    return torch.stack([profile[:, :, 24:40].sum(2), profile.amax(2)], dim=2).flatten(1)


@pytest.mark.parametrize("engine", ["full", "incremental"])
def test_effects_are_those_of_the_reduced_outputs(engine: str) -> None:
    x, net = sequences(1, dtype=np.float64), profile_net(dtype=torch.float64)
    effects = mcd.ism(
        mcd.Model(net, outputs=TRACKS), x, n_draws=4, seed=3, scores=["diff", "log2fc"],
        options=mcd.MutationOptions(START, END), running=mcd.RunOptions(engine=engine),
        pseudocount=0.5, **WORDS,
    )  # fmt: skip
    ref = torch.stack([reduced(net, x, draw, 3) for draw in range(4)])
    alt = torch.stack([reduced(net, mutants(x), draw, 3) for draw in range(4)])
    expected = {"diff": alt - ref, "log2fc": torch.log2((alt + 0.5) / (ref + 0.5))}
    for score, values in expected.items():
        for i, output in enumerate(("plus|sum@16", "plus|max", "total|sum@16", "total|max")):
            table = effects.table(output, score)
            own = values[:, :, i]
            np.testing.assert_allclose(table["effect_mean"], own.mean(0), atol=1e-5)
            np.testing.assert_allclose(table["effect_sd"], own.std(0), atol=1e-5)
            np.testing.assert_allclose(table["ref_mean"], ref[:, 0, i].mean(), rtol=1e-5)
            np.testing.assert_allclose(table["alt_mean"], alt[:, :, i].mean(0), rtol=1e-5)
    point = torch.log2((reduced(net, mutants(x), POINT, 3) + 0.5) / (reduced(net, x, POINT, 3) + 0.5))
    table = effects.table("total|max", "log2fc")
    np.testing.assert_allclose(table["effect_point"], point[:, 3], atol=1e-5)
    options = effects.provenance["options"]
    assert options["engine_used"] == engine
    assert options["pseudocount"] == 0.5
    assert options["readout"] == {
        k: [v] if isinstance(v, str) and k != "head" else v for k, v in WORDS.items()
    }


def of_profiles(net: torch.nn.Module, x: np.ndarray, draw: int, seed: int) -> torch.Tensor:
    """Whole profiles of the oracle, in float64."""
    whole = locked_forward(OneHead(net), torch.from_numpy(x), draw, seed).double()
    return whole.reshape(len(x), 3, LENGTH)


@pytest.mark.parametrize("engine", ["full", "incremental"])
def test_profile_scores_are_those_of_the_profiles_of_the_oracle(engine: str) -> None:
    x, net = sequences(1, dtype=np.float64), profile_net(dtype=torch.float64)
    l1 = mcd.Score("l1", lambda ref, alt: (alt - ref).abs().sum(-1), on_profiles=True, signed=False)
    effects = mcd.ism(
        mcd.Model(net, outputs=TRACKS), x, n_draws=3, seed=3, scores=["jsd", "l2", "sax", l1, "diff"],
        options=mcd.MutationOptions(START, END), running=mcd.RunOptions(engine=engine),
        head="profile", tracks=["plus", "total"], reduce=["sum@16", "max@20:30"],
    )  # fmt: skip
    for output, track, bins in (
        ("plus|sum@16", 0, slice(24, 40)),
        ("total|max@20:30", 2, slice(20, 30)),
    ):
        ref, alt = (
            torch.stack([of_profiles(net, of, draw, 3)[:, track, bins] for draw in range(3)])
            for of in (x, mutants(x))
        )
        delta = alt - ref
        largest = delta.gather(2, delta.abs().argmax(2, keepdim=True)).squeeze(2)
        distance = jensenshannon(ref.expand_as(alt), alt, axis=2)
        expected = {"jsd": distance, "l2": delta.norm(dim=2), "sax": largest, "l1": delta.abs().sum(2)}
        for score, values in expected.items():
            table = effects.table(output, score)
            mean = np.asarray(values).mean(0)
            np.testing.assert_allclose(table["effect_mean"], mean, atol=2e-6 * max(1, abs(mean).max()))
            diff = effects.table(output, "diff")
            for column in ("ref_mean", "alt_mean", "ref_var"):
                np.testing.assert_array_equal(table[column], diff[column])
    assert effects.provenance["options"]["engine_used"] == engine
    with pytest.raises(InputError, match="its own score 'l1' has none"):
        mcd.mr.instruments(effects, "plus|sum@16", "total|max@20:30", score="l1")
    with pytest.raises(InputError, match="'jsd' is the distance of two profiles, and has no sign"):
        mcd.mr.instruments(effects, "plus|sum@16", "total|max@20:30", score="jsd")
    assert len(mcd.mr.instruments(effects, "plus|sum@16", "total|max@20:30", score="sax")) > 5


def test_profile_scores_are_refused_by_name_where_there_is_nothing_to_compare() -> None:
    x = sequences(1)
    with pytest.raises(InputError, match=r"'jsd' compares the bins of profiles: .* with reduce"):
        mcd.ism(profile_net(), x, n_draws=2, scores="jsd")
    with pytest.raises(InputError, match="'jsd' compares the bins"):
        mcd.ism(profile_net(), x, n_draws=2, scores="jsd", head="profile", track_axis=0)
    counts = mcd.Model(profile_net(), outputs=["a", "b"])
    with pytest.raises(InputError, match="no axis of bins, so profiles cannot be compared"):
        mcd.ism(counts, x, n_draws=2, scores="jsd", head="count", reduce="sum")
    with pytest.raises(InputError, match="needs outputs between 0 and 1"):
        mcd.ism(profile_net(), x, n_draws=2, scores="logit", head="profile", track_axis=0, reduce="sum")


def test_a_model_with_a_readout_is_used_for_both_kinds_of_scores() -> None:
    model = mcd.Model(profile_net(), outputs=TRACKS).with_readout(
        head="profile", reduce="sum@16", tracks="plus"
    )
    options, x = mcd.MutationOptions(START, END), sequences(1)
    both = mcd.ism(model, x, n_draws=2, scores=["diff", "sax"], options=options)
    alone = mcd.ism(model, x, n_draws=2, scores="diff", options=options)
    np.testing.assert_allclose(
        both.table(score="diff")["effect_mean"], alone.table()["effect_mean"], rtol=1e-4, atol=1e-6
    )


class Signed(torch.nn.Module):
    """A profile with negative numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.net = profile_net()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        profile: torch.Tensor = self.net(x)["profile"]
        return profile - 1.0


@pytest.mark.filterwarnings("ignore:.*effects are NaN")
def test_log2fc_of_values_that_make_it_undefined_is_counted() -> None:
    effects = mcd.ism(
        Signed(), sequences(1), n_draws=3, scores=["log2fc", "diff"], pseudocount=0.0, track_axis=0,
        reduce="sum", options=mcd.MutationOptions(START, END),
    )  # fmt: skip
    values = effects.table(score="diff")
    bad = values["alt_mean"] < -5
    assert bad.any(), "no sum is far below 0; the test would prove nothing"
    scored = effects.table(score="log2fc")
    assert (scored["n_saturated"][bad] == 3).all()
    assert scored["effect_mean"][bad].isna().all()
    assert (scored["n_nonfinite"] == 0).all()


def test_mutants_far_from_the_window_have_no_effect_at_all() -> None:
    effects = mcd.ism(
        mcd.Model(profile_net(), outputs=TRACKS), sequences(1), n_draws=3, head="profile",
        reduce="sum@4", running=mcd.RunOptions(engine="incremental"),
    )  # fmt: skip
    table = effects.table("plus|sum@4")
    far = (table["position"] - LENGTH // 2).abs() > 16
    assert far.any()
    assert (table["effect_mean"][far] == 0).all()
    assert (table["effect_sd"][far] == 0).all()


class Watched(torch.nn.Module):
    """Tells a list, which is not a part of it, of each of its profiles."""

    def __init__(self, tell: Callable[[torch.Tensor], None]) -> None:
        super().__init__()
        self.net, self.tell = OneHead(profile_net()), tell

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        profile: torch.Tensor = self.net(x)
        self.tell(profile)
        return profile


def test_no_profile_is_kept_where_it_is_reduced() -> None:
    made: list[StorageWeakRef] = []
    in_memory: list[int] = []

    def tell(profile: torch.Tensor) -> None:
        in_memory.append(sum(not ref.expired() for ref in made))
        made.append(StorageWeakRef(profile.untyped_storage()))

    model = mcd.Model(Watched(tell), outputs=TRACKS)
    settings = mcd.RunOptions(engine="full", batch_size=8)
    options = mcd.MutationOptions(START, END)

    def run(scores: list[str]) -> int:
        made.clear()
        in_memory.clear()
        mcd.ism(
            model, sequences(1), n_draws=3, scores=scores, running=settings, options=options,
            reduce=["sum", "max@9"],
        )  # fmt: skip
        assert len(made) > 12
        return max(in_memory[-6:])  # the first passes look for dropouts

    assert run(["diff", "log2fc"]) == 0
    assert run(["diff", "jsd"]) <= 4 + 2  # those of the reference in each draw, and one batch


def test_fewer_alleles_at_a_time_for_wide_profiles() -> None:
    assert chunk_alleles(4, 1, 30, 32) == 1024
    assert chunk_alleles(4, 1, 30, 32, profile_size=2000) == 128  # 8 bytes x 31 x 2000 each
    assert chunk_alleles(4, 1, 30, 32, profile_size=50_000) == 5
    assert chunk_alleles(4, 1, 30, 32, profile_size=5_000_000) == 1


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Code, weights of two members, a FASTA of sequences, a genome and a VCF."""
    folder = tmp_path_factory.mktemp("profiles")
    code, *weights = write_files(folder, 2)
    windows = {f"s{i}": random_sequence(LENGTH, i) for i in range(3)}
    genome = random_sequence(300, 9)
    lines = []
    for pos in range(100, 140, 8):
        ref = genome[pos - 1]
        alt = "ACGT"[("ACGT".index(ref) + 1) % 4]
        lines.append(f"1 {pos} . {ref} {alt} . . .")
    lines.append(f"1 160 . {genome[159]} {genome[159]}TT . . .")
    return {
        "model": [f"{code}:Profile", "--weights", str(weights[0])],
        "member": ["--member", str(weights[1])],
        "sequences": write_fasta(folder / "s.fa", windows),
        "genome": write_fasta(folder / "g.fa", {"1": genome}),
        "vcf": write_vcf(folder / "in.vcf", lines, {"1": 300}),
    }


def ism_words(world: dict[str, Any], *more: str) -> list[str]:
    data = ["--sequences", str(world["sequences"]), "--length", str(LENGTH), "--n_draws", "4"]
    return [*world["model"], *data, *FLAGS, "--start", "20", "--end", "40", *more]


def test_members_shards_and_resume(world: dict[str, Any], tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole.parquet", tmp_path / "parts.parquet"
    words = ism_words(world, *world["member"], "-s", "diff", "log2fc", "jsd")
    assert cli(["ism", *words, "-o", str(whole)]) == 0
    for i in (1, 2):
        assert cli(["ism", *words, "-o", str(parts), "--shard", f"{i}/2"]) == 0
    assert cli(["merge", f"{parts}.shards"]) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(whole), pd.read_parquet(parts))
    assert cli(["ism", *words, "-o", str(whole), "--resume"]) == 0, "a complete run stays as it is"
    other = [word if word != "sum@16" else "sum@18" for word in words]
    assert cli(["ism", *other, "-o", str(whole), "--resume"]) == 2
    assert cli(["ism", *words, "--pseudocount", "2", "-o", str(whole), "--resume"]) == 2
    table = mcd.read(whole).table("plus|sum@16", "log2fc")
    assert {"effect_sd_between", "sign_agreement"} <= set(table)


def test_the_name_of_a_readout_in_the_way_of_kipoi_interpret(
    world: dict[str, Any], tmp_path: Path
) -> None:
    first, second = tmp_path / "a.tsv", tmp_path / "b.tsv"
    interpret_ism("ism", [*ism_words(world), "--method", "mcdropout_ism", "-o", str(first)])
    plain = [word for word in ism_words(world) if word not in ("--reduce", "sum@16", "max")]
    kwargs = '{"reduce": ["sum@16", "max"]}'
    interpret_ism("ism", [*plain, "--imp_score_kwargs", kwargs, "-o", str(second)])
    tables = [pd.read_table(path, skiprows=1) for path in (first, second)]
    pd.testing.assert_frame_equal(*tables)
    assert set(tables[0]["output"]) == {"plus|sum@16", "plus|max", "total|sum@16", "total|max"}


def test_plot_report_and_mr_read_the_names(world: dict[str, Any], tmp_path: Path) -> None:
    result, page, figure = tmp_path / "r.h5", tmp_path / "r.html", tmp_path / "r.png"
    words = ism_words(world, "-s", "log2fc", "sax", "-o", str(result))
    assert cli(["ism", *words]) == 0
    assert cli(["report", str(result), "-o", str(page)]) == 0
    assert "plus|sum@16" in page.read_text()
    one = ["--score", "log2fc", "--target", "plus|sum@16"]
    assert cli(["plot", "ism", str(result), *one, "-o", str(figure)]) == 0
    assert figure.stat().st_size > 1000
    pair = ["--exposure", "plus|sum@16", "--outcome", "total|max", "--score", "sax"]
    assert cli(["mr", str(result), *pair, "-o", str(tmp_path / "mr.tsv")]) == 0


def test_the_scorer_class_takes_the_words_too() -> None:
    x = sequences(1)
    scorer = mcd.MCDropoutISM(
        OneHead(profile_net()), None, n_draws=3, reduce="sum@16", track_axis=0, start=START, end=END,
        scores=["log2fc"], pseudocount=2.0,
    )  # fmt: skip
    found = scorer.score(x)["log2fc"]["effect_mean"]
    table = mcd.ism(
        OneHead(profile_net()), x, n_draws=3, reduce="sum@16", track_axis=0, scores="log2fc",
        pseudocount=2.0, options=mcd.MutationOptions(START, END),
    ).table("1|sum@16")  # fmt: skip
    values = found[0, :, :, 1].T  # positions x bases
    np.testing.assert_allclose(values[~np.isnan(values)], table["effect_mean"], rtol=1e-4, atol=1e-7)
    assert scorer.output_labels(x) == ("0|sum@16", "1|sum@16", "2|sum@16")


def test_a_vcf(world: dict[str, Any], tmp_path: Path) -> None:
    annotated, table = tmp_path / "o.vcf", tmp_path / "o.parquet"
    words = [
        *world["model"], "--length", str(LENGTH), "-i", str(world["vcf"]), "-f", str(world["genome"]),
        *FLAGS, "--n_draws", "4", "-s", "log2fc", "-o", str(annotated), "-t", str(table),
    ]  # fmt: skip
    assert cli(["score_variants", *words]) == 0
    rows = pd.read_parquet(table)
    assert len(rows) == 6 * 4
    assert "MCD_log2fc_plus_sum_16_effect_mean=" in annotated.read_text()
    assert 'Output="plus|sum@16"' in annotated.read_text()
    reversed_words = [*words[: words.index("log2fc")], "jsd", "sax", *words[words.index("-o") :]]
    assert cli(["score_variants", *reversed_words, "--overwrite"]) == 0
    of_profile = pd.read_parquet(table)
    assert (of_profile["effect_mean"][of_profile["score"] == "jsd"] > 0).all()
    np.testing.assert_allclose(
        of_profile["ref_mean"][of_profile["score"] == "sax"], rows["ref_mean"], rtol=1e-6
    )
    net = profile_net(0)
    genome = Path(world["genome"]).read_text().split("\n", 1)[1].replace("\n", "")
    window = genome[100 - 1 - 31 : 100 - 1 + 33]
    x = np.stack([[[float(b == base) for b in window] for base in "ACGT"]]).astype(np.float32)
    expected = torch.stack([reduced(net, x, draw, 0) for draw in range(4)]).mean(0)[0]
    np.testing.assert_allclose(rows["ref_mean"][:4], expected, rtol=1e-5)


def test_a_width_of_bins_that_nothing_is_done_with_is_refused(world: dict[str, Any]) -> None:
    model = mcd.Model(profile_net(), outputs=TRACKS, input_shape=(4, LENGTH))
    words = {"head": "profile", "reduce": "sum@8", "bin_bp": 8}
    said = "used with a window in bp, such as center_bp, and where bins are moved"
    with pytest.raises(InputError, match=said):
        mcd.ism(model, sequences(1), n_draws=2, **words)
    with pytest.raises(InputError, match=said):
        mcd.mc_predict(model, sequences(1), n_draws=2, **words)
    with pytest.raises(InputError, match=said):
        mcd.score_variants(model, world["vcf"], world["genome"], n_draws=2, **words)


def test_predict_and_audit(
    world: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "p.tsv"
    data = ["--sequences", str(world["sequences"]), "--length", str(LENGTH)]
    assert cli(["predict", *world["model"], *data, *FLAGS, "--n_draws", "2", "-o", str(out)]) == 0
    assert {"plus|sum@16", "total|max"} <= set(pd.read_table(out, skiprows=1)["output"])
    assert cli(["audit", *world["model"], *data, *FLAGS]) == 0
    assert "window against the rest of the reference" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--head", "nothing"], "head 'nothing' names none"),
        (["--tracks", "zero"], "track 'zero' names none"),
        (["--bins", "60:70"], "bins 60:70 lie outside: .*'profile' has the bins 0:64"),
        (["--bins", "6:7", "--center_bins", "3"], "give one window of bins"),
    ],
)
def test_bad_words_end_with_a_message(
    world: dict[str, Any],
    tmp_path: Path,
    words: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "x.tsv"
    code = cli(["ism", *ism_words(world, *words), "-o", str(out)])
    assert code == 2
    assert re.search(said, capsys.readouterr().err)
    assert not out.exists()
