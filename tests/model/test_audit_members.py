"""`audit` of a model with several members: how many, which have no dropout, which have other sites."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_models import LENGTH, Linear, NoDropout, fixed
from torch import nn

import kipoi_mcdropout as mcd
from kipoi_mcdropout.cli.commands import audit as command
from kipoi_mcdropout.errors import NoRandomSiteError


def _audit(*nets: nn.Module) -> mcd.model.audit.Audit:
    nets = tuple(fixed(net, seed) for seed, net in enumerate(nets))
    return mcd.audit(mcd.Model(list(nets), input_shape=(4, LENGTH)))


def test_members_with_the_same_sites() -> None:
    found = _audit(Linear(), Linear(), Linear())
    assert str(found).endswith("members: 3, all with the same dropout sites")
    assert list(found.table()["site"]) == ["0"]
    assert _audit(Linear()).members == ""


def test_members_without_dropout_are_the_draws_and_no_error() -> None:
    assert str(_audit(NoDropout(), NoDropout())) == (
        "members: 2, and none has dropout: the members are the draws, each network one draw"
    )
    with pytest.raises(NoRandomSiteError):
        _audit(NoDropout())


def test_members_that_differ_are_named() -> None:
    found = _audit(NoDropout(), Linear(), Linear(p=0.1), NoDropout())
    assert found.members == (
        "members: 4; without dropout: member 1, member 4; with other dropout sites than these: member 3"
    )
    assert list(found.table()["p"]) == ["0.3"], "of the first member that has dropout"


CODE = """
from torch import nn
def Net():
    return nn.Sequential(nn.Flatten(), nn.Linear(4 * 40, 8), nn.ReLU(), nn.Linear(8, 2))
"""


def test_the_command_shows_the_plan_of_the_first_without_dropout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(CODE)
    space: dict[str, type[nn.Module]] = {}
    exec(CODE, space)
    for i in range(3):
        torch.save(fixed(space["Net"](), i).state_dict(), f"w{i}.pt")
    # A pattern that the shell has expanded, as happens without quotation marks, works too.
    words = ["net.py:Net", "--weights", "w0.pt", "--members", "w1.pt", "w2.pt", "--input_shape", "4,40"]
    assert command.main(words) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("members: 3, and none has dropout")
    assert "the first of 3 members:" in printed
    assert "substitutions and one pass without dropout" in printed
    assert "per mutant: 0 MFLOP" not in printed
