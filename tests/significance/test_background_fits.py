"""A background that was not made like the run is refused, with the name of what differs."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from small_models import LENGTH, Linear, fixed, one_hot

import kipoi_mcdropout as mcd
from kipoi_mcdropout.errors import InputError, InputWarning
from kipoi_mcdropout.files.background import background_for
from kipoi_mcdropout.significance.same_run import centre_of, check_same_run

FEW = {"n_effects": 100, "per_window": 50}
RUNNING = mcd.RunOptions(verify=False)


def model(seed: int = 0, **settings: Any) -> mcd.Model:
    words = {"outputs": ["a", "b", "c"], "input_shape": (4, LENGTH), **settings}
    return mcd.Model(fixed(Linear(), seed), **words)


@pytest.fixture(scope="module")
def null(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("null") / "null.parquet"
    options = mcd.BackgroundOptions(**FEW)
    words: dict[str, Any] = {"n_draws": 3, "targets": ["a", "b"], "output": path, "options": options}
    mcd.background(model(), one_hot(2), running=RUNNING, **words)
    return path


def scored(null: Path | None, net: mcd.Model | None = None, **other: Any) -> mcd.Effects:
    mutation = mcd.MutationOptions(background=null, **other.pop("mutation", {}))
    words = {"n_draws": 3, "targets": ["b"], "options": mutation, "running": RUNNING, **other}
    return mcd.ism(net or model(), one_hot(1, seed=4), **words)


def test_a_part_of_the_outputs_is_fine(null: Path) -> None:
    assert scored(null).table()["p_empirical"].notna().all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"n_draws": 4}, "n_draws is 3 there and 4 here"),
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"scores": "alt"}, "no score 'alt'; it has diff"),
        ({"scores": ("diff", "ref")}, "no score 'ref'"),
        ({"targets": ["b", "c"]}, "no output 'c'; it has a, b"),
        ({"net": 1}, "another model (Linear, here Linear): the checksum of its weights differs"),
        ({"mutation": {"mask_scope": "sequence"}}, "mask_scope is 'sequence'"),
        ({"mutation": {"start": 3}}, "positions 0 to 40 were mutated there and 3 to 40 here"),
        ({"mutation": {"end": 39}}, "positions 0 to 40 were mutated there and 0 to 39 here"),
    ],
)
def test_what_differs_is_named(null: Path, words: dict[str, Any], message: str) -> None:
    """By the run, and by the comparison after it."""
    if "net" in words:
        words = {"net": model(seed=words["net"])}
    with pytest.raises(InputError) as in_run:
        scored(null, **words)
    assert message in str(in_run.value)
    after = scored(None, **words)
    with pytest.raises(InputError) as later:
        after.significance(null)
    assert message in str(later.value)


def of_ism(**options: Any) -> dict[str, Any]:
    """A record, as far as it is looked at."""
    record = {"model": {"name": "net", "weights_sha256": "1"}, "n_draws": 3, "seed": 0, "sites": [1]}
    return {**record, "options": {"start": 0, "end": None, "engine_used": "full", **options}}


def of_background(**options: Any) -> dict[str, Any]:
    said = {"method": "background", "start": 0, "end": 100, "length": 100}
    return of_ism(**{**said, **options})


def of_variants(**options: Any) -> dict[str, Any]:
    said = {"info_prefix": "MCD", "rc": False, "shifts": [0], "length": 100}
    return of_ism(**{**said, **options})


CENTRE = dict(zip(("start", "end"), centre_of(100), strict=True))


def test_records_of_like_runs_are_accepted() -> None:
    check_same_run(of_background(), of_ism())
    check_same_run(of_background(), of_ism(end=100))
    check_same_run(of_background(**CENTRE), of_variants())


@pytest.mark.parametrize(
    ("background", "run", "message"),
    [
        (of_background(), {**of_ism(), "sites": [1, 2]}, "the dropout sites differ"),
        (of_background(), {**of_ism(), "members": [{}, {}]}, "one model alone, the run 2 members"),
        (of_background(), of_ism(output_sel_fn="f.py::f"), "output_sel_fn is None there and f.py::f"),
        (of_background(), of_ism(dtype="bfloat16"), "dtype is None there and bfloat16 here"),
        (of_background(), of_ism(until=0.15), "different numbers of draws here (--until)"),
        (of_background(**CENTRE), of_variants(rc=True), "averages several (--rc, --shifts)"),
        (of_background(**CENTRE), of_variants(shifts=[0, 1]), "averages several (--rc, --shifts)"),
        (of_background(**CENTRE), of_variants(length=99), "windows have 100 bp, here 99"),
        (of_background(), of_variants(), "positions 0 to 100 were mutated there.* --for_variants"),
        (of_ism(method="mcdropout_ism"), of_ism(), "this is a result of mcdropout_ism"),
    ],
)
def test_what_differs_in_the_records_is_named(
    background: dict[str, Any], run: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as error:
        check_same_run(background, run)
    for part in message.split(".* "):
        assert part in str(error.value)


def test_another_engine_is_warned_of() -> None:
    with pytest.warns(InputWarning, match="engine full and this run by incremental"):
        check_same_run(of_background(), of_ism(engine_used="incremental"))


def test_the_middle_is_where_a_variant_lies() -> None:
    assert centre_of(1000) == (499 - 12, 499 + 13)
    assert centre_of(501) == (250 - 12, 250 + 13)
    assert centre_of(9) == (0, 9)


def test_a_file_that_is_no_background_is_refused(null: Path, tmp_path: Path) -> None:
    table = tmp_path / "effects.parquet"
    effects = scored(None, output=table)
    with pytest.raises(InputError, match="is no background"):
        effects.significance(table)
    with pytest.raises(InputError, match="no result file"):
        effects.significance(tmp_path / "none.parquet")
    data = null.read_bytes()
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(data[:-100])
    with pytest.raises(InputError, match="cannot be read"):
        effects.significance(damaged)


def test_a_background_is_of_effects() -> None:
    with pytest.raises(InputError, match="ref is a prediction"):
        mcd.background(model(), one_hot(1), scores=("diff", "ref"), n_draws=3)
    with pytest.raises(InputError, match="at least 100"):
        mcd.BackgroundOptions(n_effects=99)
    with pytest.raises(InputError, match="either it or start and end"):
        mcd.BackgroundOptions(for_variants=True, start=3)
    options = mcd.BackgroundOptions(from_regions=True)
    with pytest.raises(InputError, match="from_regions takes windows of the genome"):
        mcd.background(model(), one_hot(1), n_draws=3, options=options)
    shard = mcd.RunOptions(shard=mcd.Shard(1, 2))
    with pytest.raises(InputError, match="made in one run"):
        mcd.background(model(), one_hot(1), n_draws=3, output="x.parquet", running=shard)


def test_other_processes_read_the_file_themselves(null: Path, tmp_path: Path) -> None:
    own = tmp_path / "null.parquet"
    own.write_bytes(null.read_bytes())
    record = scored(None).provenance
    ranking, recorded = background_for(own, record, ["b"], ["diff"])
    assert recorded["files"]["background"] == {"path": str(own), "sha256": ranking.sha256}
    sent = pickle.dumps(ranking)
    assert len(sent) < 1000
    there = pickle.loads(sent).background
    here = ranking.background
    assert there.labels == here.labels == ("b",)
    assert there.scores["diff"][0].draws.tobytes() == here.scores["diff"][0].draws.tobytes()
    other = mcd.BackgroundOptions(**FEW, sample_seed=1)
    running = mcd.RunOptions(overwrite=True)
    mcd.background(model(), one_hot(2), n_draws=3, output=own, options=other, running=running)
    with pytest.raises(InputError, match="has changed since the run began"):
        pickle.loads(sent)
