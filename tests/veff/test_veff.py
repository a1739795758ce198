"""The real kipoi-veff 0.3.1, run for real. Skips, saying so, where it is not installed."""

from __future__ import annotations

import copy
import importlib.metadata
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import kipoi_mcdropout as mcd

try:
    importlib.metadata.version("kipoi-veff")
except importlib.metadata.PackageNotFoundError:
    pytest.skip(
        "kipoi-veff is not installed: pip install --no-deps kipoi-veff==0.3.1", allow_module_level=True
    )

from variant_call import score_variants as ours
from veff_world import LENGTH, VeffWorld, make_world, snv, write_vcf

from kipoi_mcdropout.errors import InputError, OutputError, TargetError
from kipoi_mcdropout.veff import (
    McDropoutEffects,
    VeffWarning,
    attach_postprocessing,
    repair,
    score_variants,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*unclosed file:pytest.PytestUnraisableExceptionWarning"),
]
N_DRAWS = 6


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> VeffWorld:
    return make_world(tmp_path_factory.mktemp("veff"))


@pytest.fixture(scope="module")
def world_rc(tmp_path_factory: pytest.TempPathFactory) -> VeffWorld:
    return make_world(tmp_path_factory.mktemp("veff_rc"), use_rc=True)


def run(world: VeffWorld, vcf: Path | None = None, **options: Any) -> dict[str, pd.DataFrame]:
    options = {"return_predictions": True, "n_draws": N_DRAWS, "seed": 5, **options}
    result = score_variants(world.model, world.dl_args, vcf or world.vcf, **options)
    assert result is not None
    return result


def our_table(world: VeffWorld, folder: Path, **options: Any) -> pd.DataFrame:
    table = folder / "ours.parquet"
    ours(
        world.model,
        world.vcf,
        world.fasta,
        table=table,
        n_draws=N_DRAWS,
        seed=5,
        overwrite=True,
        **options,
    )
    return pd.read_parquet(table)


@pytest.mark.parametrize("rc", [False, True])
def test_the_numbers_are_those_of_our_own_command(
    world: VeffWorld, world_rc: VeffWorld, tmp_path: Path, rc: bool
) -> None:
    chosen = world_rc if rc else world
    names = ["diff", "logit", "ref", "alt", "logit_ref", "logit_alt", "deepsea_effect"]
    theirs = run(chosen, scores=names)
    table = our_table(chosen, tmp_path, scores=names, rc=rc)
    columns = {
        "mean": "effect_mean", "sd": "effect_sd", "mcse": "effect_mcse", "point": "effect_point",
        "prob_positive": "prob_positive",
    }  # fmt: skip
    for score in names:
        for name, column in columns.items():
            mine = table[table.score == score].pivot(index="pos", columns="output", values=column)
            frame = theirs[f"{score}_{name}"]
            assert frame.shape == (20, 3)
            np.testing.assert_allclose(
                frame[["FOXA1", "FOXA2", "DNase"]], mine[["FOXA1", "FOXA2", "DNase"]], rtol=0, atol=1e-6
            )
    assert theirs["diff_sd"].to_numpy().min() > 0


def test_its_own_predict_snvs_takes_our_evaluation_function(world: VeffWorld, tmp_path: Path) -> None:
    kipoi_veff: Any = repair()
    attach_postprocessing(world.model)
    info = kipoi_veff.ModelInfoExtractor(world.model, world.model.default_dataloader)
    import pysam

    packed = str(tmp_path / "in.vcf.gz")
    pysam.tabix_compress(str(world.vcf), packed)
    pysam.tabix_index(packed, preset="vcf")
    result = kipoi_veff.predict_snvs(
        world.model,
        world.model.default_dataloader,
        packed,
        batch_size=7,
        dataloader_args=dict(world.dl_args),
        vcf_to_region=kipoi_veff.SnvCenteredRg(info),
        evaluation_function=McDropoutEffects(n_draws=N_DRAWS, seed=5),
        evaluation_function_kwargs={},
        return_predictions=True,
    )
    expected = run(world)
    for name, frame in expected.items():
        np.testing.assert_allclose(result[name], frame, rtol=0, atol=1e-6)
    assert result["diff_mean"].index[0].startswith("chr1:30:")


def test_its_own_scoring_is_unchanged_and_equals_our_point(world: VeffWorld) -> None:
    """kipoi-veff's own deterministic score, by its own code, once it is repaired."""
    kipoi_veff: Any = repair()
    attach_postprocessing(world.model)
    from kipoi_veff.scores import Diff

    own: dict[str, Any] = {}

    class Both(McDropoutEffects):
        def __call__(self, model: Any, output_reshaper: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
            theirs = kipoi_veff.analyse_model_preds(
                model,
                output_reshaper=output_reshaper,
                diff_types={"d": Diff()},
                **{k: v for k, v in kwargs.items() if k != "output_filter"},
            )
            mine = super().__call__(model, output_reshaper, **kwargs)
            own.setdefault("pairs", []).append((theirs["d"], mine["diff_point"]))
            return mine

    world.model.model.eval()
    import kipoi_mcdropout.veff.score as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "McDropoutEffects", Both)
        run(world)
    assert len(own["pairs"]) == 1
    for theirs, mine in own["pairs"]:
        np.testing.assert_allclose(theirs, mine, rtol=0, atol=1e-6)


def test_its_vcf_writer_works_again(world: VeffWorld, tmp_path: Path) -> None:
    out = tmp_path / "out.vcf"
    with pytest.warns(VeffWarning, match="VcfWriter drops"):
        result = run(world, output_vcf=out)
    lines = out.read_text().splitlines()
    records = [line.split("\t") for line in lines if not line.startswith("#")]
    assert [int(r[1]) for r in records] == list(range(30, 250, 11))
    fields = [dict(f.partition("=")[::2] for f in r[7].split(";")) for r in records]
    key = next(k for k in fields[0] if k.endswith("DIFF_MEAN"))
    written = np.array([[float(v) for v in f[key].split("|")] for f in fields])
    np.testing.assert_allclose(written, result["diff_mean"], atol=1e-8)
    assert any(line.startswith("##INFO=<ID=KV") for line in lines)


def test_nothing_is_written_beside_the_input_and_no_temporary_stays(
    world: VeffWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    (tmp_path / "data").mkdir()
    vcf = tmp_path / "data" / "in.vcf"
    vcf.write_bytes(world.vcf.read_bytes())
    run(world, vcf)
    assert os.listdir(tmp_path / "data") == ["in.vcf"]
    assert vcf.read_bytes() == world.vcf.read_bytes()
    assert os.listdir(scratch) == []


def test_what_it_gets_wrong_is_left_out_by_name(world: VeffWorld, tmp_path: Path) -> None:
    text = world.sequence
    b = text[99]
    records = [
        f"chr1\t4\t.\t{text[3]}\t{'ACGT'[('ACGT'.index(text[3]) + 1) % 4]}\t.\t.\t.",
        snv(text, 60),
        f"chr1\t100\t.\t{b}\t{','.join(x for x in 'ACGT' if x != b)}\t.\t.\t.",
        f"chr1\t100\t.\t{b}\t{b}T\t.\t.\t.",
        f"chr1\t100\t.\t{b}\t.\t.\t.\t.",
        f"chr1\t100\t.\t{b}\t<DEL>\t.\t.\t.",
        f"chr1\t100\t.\t{b}\t*\t.\t.\t.",
        f"chr1\t100\t.\t{b}\tN\t.\t.\t.",
        f"chr1\t296\t.\t{text[295]}\t{'ACGT'[('ACGT'.index(text[295]) + 1) % 4]}\t.\t.\t.",
        "hs37d5\t100\t.\tA\tC\t.\t.\t.",
    ]
    vcf = write_vcf(tmp_path / "odd.vcf", records)
    with pytest.warns(VeffWarning) as caught:
        result = run(world, vcf)
    assert len(result["diff_mean"]) == 1
    said = [str(w.message) for w in caught if w.category is VeffWarning]
    for reason, n in [("multi_allelic", 1), ("not_snv", 1), ("no_alt", 1), ("symbolic", 1),
                      ("overlapping_deletion", 1), ("ambiguous_base", 1), ("edge", 2),
                      ("contig_renamed", 1)]:  # fmt: skip
        assert any(f"{n} records are left out ({reason})" in text for text in said), (reason, said)


def test_a_wrong_ref_is_refused_with_its_place(world: VeffWorld, tmp_path: Path) -> None:
    wrong = "ACGT"[("ACGT".index(world.sequence[59]) + 2) % 4]
    vcf = write_vcf(tmp_path / "x.vcf", [f"chr1\t60\t.\t{wrong}\t{world.sequence[59]}\t.\t.\t."])
    with pytest.raises(InputError, match="chr1:60"):
        run(world, vcf)


def test_the_evaluation_function_itself_refuses_mangled_records() -> None:
    from types import SimpleNamespace

    for ref, alts, word in [("A", ["C", "G"], "first ALT"), ("A", ["<DEL>"], "symbolic"),
                            ("A", ["AT"], "no SNV"), ("A", ["N"], "ambiguous_base")]:  # fmt: skip
        record = SimpleNamespace(CHROM="1", POS=5, REF=ref, ALT=alts)
        with pytest.raises(InputError, match=rf"1:5.*{word}"):
            McDropoutEffects()(None, ref=None, alt=None, vcf_records=[record])


def test_sample_columns_and_missing_chr_are_mentioned(world: VeffWorld, tmp_path: Path) -> None:
    record = snv(world.sequence, 60, contig="1") + "\tGT\t0/1"
    vcf = write_vcf(tmp_path / "s.vcf", [record], samples="s1")
    with pytest.warns(VeffWarning) as caught:
        run(world, vcf, output_vcf=tmp_path / "o.vcf")
    said = " ".join(str(w.message) for w in caught)
    assert "1 sample columns" in said
    assert "names that begin with chr" in said


@pytest.mark.parametrize(
    ("wanted", "labels"),
    [(["FOXA2"], ["FOXA2"]), ([0, 2], ["FOXA1", "DNase"]), ([True, False, False], ["FOXA1"])],
)
def test_model_outputs_are_chosen_as_kipoi_veff_does(
    world: VeffWorld, wanted: list[Any], labels: list[str]
) -> None:
    everything = run(world)
    some = run(world, model_outputs=wanted)
    assert list(some["diff_mean"].columns) == labels
    np.testing.assert_allclose(some["diff_mean"], everything["diff_mean"][labels], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"return_predictions": False}, OutputError),
        ({"model_outputs": ["no"]}, TargetError),
        ({"model_outputs": [7]}, TargetError),
        ({"scores": ["nothing"]}, InputError),
        ({"score_kwargs": [{}, {}]}, InputError),
        ({"score_kwargs": [{"rc_merging": "max"}]}, InputError),
        ({"n_draws": 1}, InputError),
        ({"seq_length": LENGTH + 1}, InputError),
    ],
)
def test_bad_arguments_are_refused(world: VeffWorld, options: dict[str, Any], error: type) -> None:
    with pytest.raises(error):
        run(world, **options)


@pytest.mark.usefixtures("world")
def test_a_model_without_postprocessing_is_refused(tmp_path: Path) -> None:
    from types import SimpleNamespace

    (tmp_path / "model.yaml").write_text("args: {}\n")
    model = SimpleNamespace(source_dir=str(tmp_path), default_dataloader=None)
    with pytest.raises(InputError, match="postprocessing"):
        attach_postprocessing(model)


def test_a_dataloader_may_describe_itself_in_its_docstring(world: VeffWorld) -> None:
    from types import SimpleNamespace

    class Described:
        pass

    Described.__doc__ = "postprocessing: {variant_effects: {bed_input: [intervals_file]}}"
    attach_postprocessing(world.model)
    model = SimpleNamespace(postprocessing=world.model.postprocessing, default_dataloader=Described)
    attach_postprocessing(model)
    assert list(Described.postprocessing["variant_effects"].bed_input) == ["intervals_file"]  # type: ignore[attr-defined]


def _others(world: VeffWorld, n: int) -> list[Any]:
    """Kipoi models of the same code with other weights."""
    made = []
    for seed in range(n):
        model = copy.copy(world.model)
        model.model = copy.deepcopy(world.model.model)
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.model.parameters():
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        made.append(model)
    return made


def test_members_give_the_numbers_of_our_own_command(world: VeffWorld) -> None:
    others = _others(world, 2)
    theirs = run(world, members=others)
    model = mcd.Model([world.model, *others], input_shape=(LENGTH, 4))
    table = mcd.score_variants(model, world.vcf, world.fasta, n_draws=N_DRAWS, seed=5).table()
    names = {
        "mean": "effect_mean", "sd": "effect_sd", "sd_within": "effect_sd_within",
        "sd_between": "effect_sd_between", "sign_agreement": "sign_agreement",
    }  # fmt: skip
    for statistic, ours_name in names.items():
        got = theirs[f"diff_{statistic}"].to_numpy()
        expected = table[ours_name].to_numpy().reshape(got.shape)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6, err_msg=statistic)
    assert "diff_sd_within" not in run(world)


def test_draws_must_be_shared_out_among_members(world: VeffWorld) -> None:
    with pytest.raises(InputError, match="multiple of the number of members, 3"):
        McDropoutEffects(n_draws=10, members=_others(world, 2))
    evaluation = McDropoutEffects(members=_others(world, 3))
    x = np.eye(4, dtype=np.float32)[np.zeros((1, LENGTH), int)]
    evaluation(world.model, ref={"seq": x}, alt={"seq": x})
    assert evaluation.options.n_draws == 32
