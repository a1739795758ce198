"""Dropout that an evaluation pass does not show: found and locked, or refused by name."""

from __future__ import annotations

from collections import Counter

import torch
from torch import nn

from kipoi_mcdropout.errors import UnlockableDropoutError
from kipoi_mcdropout.nested import Nested
from kipoi_mcdropout.probe import Probe, Recording, same_output, training_flag


def find_guarded(
    probe: Probe, pair: Nested, quiet: Recording, ignore: tuple[str, ...]
) -> tuple[tuple[nn.Module, ...], tuple[str, ...]]:
    """Modules that call dropout only while their training flag is on, and notes on other noise.

    Code such as `if self.training: x = F.dropout(x)` is silent in evaluation mode (`quiet` is a
    recording of that). Such a module may run with its own flag on if, with nothing dropped, the
    output is the same as in evaluation mode; else it is refused.
    """
    try:
        loud, again = (_record_in_training(probe, pair) for _ in range(2))
    except Exception as error:  # whatever the user's code raises there is no error of this run
        return (), (f"the model cannot run in training mode ({type(error).__name__}); not searched",)
    notes = []
    for where, function in dict.fromkeys(loud.random):
        _refuse_custom(probe.parts.get(where), where, function, ignore)
        notes.append(f"{where}: torch's {function} in training only; left off")
    if not loud.random and not same_output(loud.output, again.output):
        notes.append("randomness of Python or numpy in training only (LayerDrop?); left off")
    extra = Counter(where for where, _ in loud.calls) - Counter(where for where, _ in quiet.calls)
    names = [where for where in extra if where not in ignore]
    lifted = tuple(probe.parts[where] for where in names if where in probe.parts)
    if lifted:
        with training_flag(lifted):
            unchanged = same_output(probe.record(pair).output, quiet.output)
        if not unchanged:
            raise UnlockableDropoutError(
                f"the dropout in module {names[0]!r} runs only in training mode, where the module "
                "also does other things. Call F.dropout(x, p, self.training) without a condition"
            )
    notes += [f"{where}: dropout guarded by `self.training`; locked all the same" for where in names]
    return lifted, tuple(notes)


def _record_in_training(probe: Probe, pair: Nested) -> Recording:
    """A pass with every training flag on but those of normalization layers, whose statistics move."""
    norm = nn.modules.batchnorm._NormBase
    parts = tuple(part for part in probe.module.modules() if not isinstance(part, norm))
    buffers = [(buffer, buffer.clone()) for buffer in probe.module.buffers()]
    try:
        with training_flag(parts):
            return probe.record(pair)
    finally:
        for buffer, saved in buffers:
            buffer.copy_(saved)


def _refuse_custom(part: nn.Module | None, where: str, function: str, ignore: tuple[str, ...]) -> None:
    """Refuse what drops units in training by a random function other than torch's dropouts."""
    named = part is not None and "drop" in type(part).__name__.lower()
    if (named or function.startswith("bernoulli")) and where not in ignore:
        raise UnlockableDropoutError(
            f"module {where!r} ({type(part).__name__}) drops units by torch's {function}, which cannot "
            f"be locked. Replace it by nn.Dropout, or leave it off: ignore={where!r}"
        )


def refuse_torchscript(module: nn.Module, ignore: tuple[str, ...]) -> None:
    """Refuse TorchScript, before the probing: it takes no hooks either."""
    for name, part in module.named_modules():
        ignored = any(name == top or name.startswith(f"{top}.") for top in ignore)
        if isinstance(part, torch.jit.ScriptModule) and not ignored:
            raise UnlockableDropoutError(
                f"module {name or type(module).__name__!r} is TorchScript; the dropouts inside cannot "
                "be seen. Load the Python class with its weights instead"
            )


def refuse_unseen(probe: Probe, seen: set[str], ignore: tuple[str, ...]) -> None:
    """Refuse modules that look like dropout but called none that was seen."""
    for label, part in probe.parts.items():
        if label in ignore:
            continue
        if label not in seen and _looks_like_dropout(part):
            raise UnlockableDropoutError(
                f"module {label!r} ({type(part).__name__}) looks like dropout but calls no dropout "
                f"function of torch. Replace it by nn.Dropout, or leave it off: ignore={label!r}"
            )


def _looks_like_dropout(part: nn.Module) -> bool:
    """A leaf module of the user's own, named like dropout, with a probability other than 0."""
    if type(part).__module__.startswith("torch.nn") or next(part.children(), None) is not None:
        return False
    probability = next(
        (getattr(part, name) for name in ("p", "drop_prob", "rate", "prob") if hasattr(part, name)),
        None,
    )
    return "drop" in type(part).__name__.lower() and probability != 0


def idle_dropouts(module: nn.Module, seen: set[str]) -> dict[str, str]:
    """Dropout modules of torch that drop nothing, by name, with the reason."""
    return {
        name: "p = 0" if part.p == 0 else "not called by the forward pass"
        for name, part in module.named_modules()
        if isinstance(part, nn.modules.dropout._DropoutNd) and name not in seen
    }
