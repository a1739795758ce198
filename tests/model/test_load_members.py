"""Members whose weights are large: one at a time is in memory, and no bit of the results differs."""

from __future__ import annotations

import gc
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from network_files import Files, make_files, sequences, trained
from resident import resident_bytes
from torch import nn
from variant_world import random_sequence, write_fasta, write_vcf

import kipoi_mcdropout as mcd
from kipoi_mcdropout.cli import run
from kipoi_mcdropout.dropout.stored_weights import is_stored
from kipoi_mcdropout.effects import members as of_effects
from kipoi_mcdropout.engine.incremental import engine as incremental
from kipoi_mcdropout.model.load_members import load_members


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = make_files(tmp_path)
    for seed in (1, 2):
        torch.save(trained(seed).state_dict(), tmp_path / f"{seed}.pt")
    return made


def _model(files: Files, memory_bytes: int | None) -> mcd.Model:
    return mcd.load_model(
        files.named(), weights=files.weights, members=[files.folder / "1.pt", files.folder / "2.pt"],
        input_shape=(4, 30), memory_bytes=memory_bytes,
    )  # fmt: skip


def _networks(model: mcd.Model) -> list[nn.Module]:
    return [member.locked.module for member in model.ensemble.members]


@pytest.mark.parametrize("engine", ["incremental", "full"])
def test_no_bit_differs_whether_weights_are_in_files_or_not(files: Files, engine: str) -> None:
    running = mcd.RunOptions(engine=engine)
    found = []
    for memory_bytes, stored in ((None, False), (1, True)):
        model = _model(files, memory_bytes)
        assert [is_stored(net) for net in _networks(model)] == [stored] * 3
        effects = mcd.ism(model, sequences(2), n_draws=6, running=running)
        found.append((effects.table(), effects.member_means(), effects.provenance["members"]))
    pd.testing.assert_frame_equal(found[0][0], found[1][0], check_exact=True)
    np.testing.assert_array_equal(found[0][1], found[1][1])
    assert found[0][2] == found[1][2]


def test_a_vcf_has_the_same_numbers_too(files: Files) -> None:
    sequence = random_sequence(60, 1)
    fasta = write_fasta(files.folder / "g.fa", {"chr1": sequence})
    records = [f"chr1 {p} . {sequence[p - 1]} {'TGAC'['ACGT'.index(sequence[p - 1])]} . . ."
               for p in (20, 30, 40)]  # fmt: skip
    vcf = write_vcf(files.folder / "in.vcf", records)
    running = mcd.RunOptions(engine="incremental")
    tables = [
        mcd.score_variants(_model(files, memory), vcf, fasta, n_draws=6, running=running).table()
        for memory in (None, 1)
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert tables[0]["effect_sd_between"].notna().all()


def test_the_command_keeps_large_members_out_of_memory(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[nn.Module] = []
    monkeypatch.setattr(
        "kipoi_mcdropout.model.load_members.store_weights", lambda net: stored.append(net) or True
    )
    fasta = files.folder / "w.fa"
    fasta.write_text(f">w\n{random_sequence(30, 1)}\n")
    words = [
        files.named(), "--weights", str(files.weights), "--member", str(files.folder / "1.pt"),
        "--sequences", str(fasta), "--input_shape", "4,30", "--n_draws", "2", "--end", "2",
    ]  # fmt: skip
    for memory, n in (("1GB", 0), ("0.001MB", 2)):
        run("ism", "ism", [*words, "--memory", memory, "-o", str(files.folder / f"{memory}.tsv")])
        assert len({id(net) for net in stored}) == n


def test_one_member_at_a_time_has_copies_of_its_weights(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
    counts: list[int] = []

    def counted(function: Any) -> Any:
        def call(*args: Any) -> Any:
            counts.append(len(alive))  # of the members before
            compiled = function(*args)
            alive[id(compiled)] = compiled
            return compiled

        return call

    for name in ("compile_model", "planned"):
        monkeypatch.setattr(incremental, name, counted(getattr(incremental, name)))
    gc.disable()  # nothing may wait for it
    try:
        mcd.ism(_model(files, 1), sequences(2), n_draws=6, running=mcd.RunOptions(engine="incremental"))
        assert len(counts) == 2 * 3, "each member is planned again for each sequence"
        assert set(counts) == {0}
        assert not alive
        counts.clear()
        mcd.ism(
            _model(files, None), sequences(2), n_draws=6, running=mcd.RunOptions(engine="incremental")
        )
        assert counts == [0, 1, 2], "with all in memory each is planned once"
    finally:
        gc.enable()


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux says what is in memory")
def test_one_member_at_a_time_has_its_weights_in_memory(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _model(files, 1)
    assert [resident_bytes(net) for net in _networks(model)] == [0, 0, 0]
    summarize, seen = of_effects.summarize_effects, []

    def watched(*args: Any) -> Any:
        found = summarize(*args)
        seen.append([resident_bytes(net) > 0 for net in _networks(model)])
        return found

    monkeypatch.setattr(of_effects, "summarize_effects", watched)
    mcd.ism(model, sequences(2), n_draws=6)
    assert seen == 2 * [[True, False, False], [False, True, False], [False, False, True]]
    assert [resident_bytes(net) for net in _networks(model)] == [0, 0, 0]


def test_while_members_are_loaded_one_at_a_time_is_in_memory() -> None:
    alive: list[int] = []
    counts: list[int] = []

    def load(number: int, seed: int) -> nn.Module:
        counts.append(len(alive))
        values = np.full((20, 30), seed, np.float32)
        alive.append(number)
        weakref.finalize(values, alive.remove, number)
        net = nn.Linear(30, 20, bias=False)
        net.weight.data = torch.from_numpy(values)
        return net

    loaded = load_members([5, 6, 7], load, memory_bytes=2 * 2400)
    assert counts == [0, 1, 0], "two fill the memory, and then both go into files"
    assert alive == []
    assert [net.weight[0, 0].item() for net in loaded] == [5, 6, 7]
    counts.clear()
    kept = load_members([5, 6, 7], load, memory_bytes=10_000_000)
    assert (counts, len(kept)) == ([0, 1, 2], 3)


def test_one_model_alone_stays_in_memory() -> None:
    (net,) = load_members([0], lambda *_: nn.Linear(3, 2), memory_bytes=1)
    assert not is_stored(net)


def test_without_room_for_files_all_stay_in_memory_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    said: list[str] = []
    loaded = load_members([0, 1, 2], lambda *_: nn.Linear(3, 2), 1, said.append)
    assert not any(map(is_stored, loaded))
    (text,) = said
    assert "No space left on device" in text
    assert "TMPDIR" in text
