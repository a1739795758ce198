"""Randomness that occurs only in training mode: dropout is locked, all else is refused by name."""

from __future__ import annotations

import torch
from torch import nn

from kipoi_mcdropout.arrays.nested import Nested
from kipoi_mcdropout.dropout.keras_network import (
    is_keras,
    is_keras_normalization,
    is_leaf,
    keras_with_dropout,
)
from kipoi_mcdropout.dropout.named_parts import IN_FORWARD, is_ignored, module_at_fault, named_parts
from kipoi_mcdropout.dropout.probe import Call, same_output
from kipoi_mcdropout.dropout.watch import Observation, RandomnessWatch
from kipoi_mcdropout.errors import ModelForwardError, UnlockableDropoutError

_GUARDED = "dropout under `if self.training`; it is locked too"
_INSTEAD = (
    "use a dropout function of torch, or multiply by a mask made by torch.bernoulli or "
    "torch.rand(...) > p (to skip a layer: one number for each input), or add noise made by torch.randn "
    "or torch.rand"
)
_MOST_FAILURES = 20  # modules that cannot run in training mode, before the search ends


def find_guarded(
    module: nn.Module, call: Call, inputs: Nested, ignore: tuple[str, ...]
) -> tuple[tuple[nn.Module, ...], tuple[str, ...]]:
    """Modules that drop units only while their training flag is on, and notes about them.

    Code such as `if self.training: x = F.dropout(x)` is silent in evaluation mode. Such a module may
    run with its own flag on if, with nothing dropped, the output is that of evaluation mode. `inputs`
    is a batch as small as the model takes, as this runs it several times.

    Raises
    ------
    UnlockableDropoutError
        If the model uses other random numbers, in evaluation or training mode; if a module cannot run
        in training mode; or if a module does more than drop units there. All are named at once.
    """
    with RandomnessWatch(module, call, _looks_like_dropout) as watch:
        quiet = _in_evaluation(watch, inputs, ignore)
        loud = _in_training(watch, inputs, ignore)
        _refuse_unseen(watch, quiet, loud, ignore)
        found = {*(loud.sites - quiet.sites), *keras_with_dropout(watch.parts, loud.sites)}
        names = [name for name in watch.parts if name in found and not is_ignored(name, ignore)]
        lifted = tuple(watch.parts[name] for name in names)
        if lifted and not _only_drops(watch, inputs, lifted, quiet):
            raise UnlockableDropoutError(
                f"the dropout in module {', '.join(map(repr, names))} runs only in training mode, and "
                "the module also does other things in that mode: with nothing dropped, and with noise "
                "at its mean, its result is not that of evaluation mode. Call F.dropout(x, p, "
                "self.training) without a condition, or run the same code in evaluation mode (it is "
                f"locked there too), or switch this dropout off: {_advice(names)}"
            )
    own_code = [name for name in names if not is_keras(watch.parts[name])]
    return lifted, tuple(f"{name}: {_GUARDED}" for name in own_code)


def refuse_random_point(module: nn.Module, call: Call, inputs: Nested, ignore: tuple[str, ...]) -> None:
    """Refuse a model whose prediction with dropout off is random, as two passes over `inputs` show.

    Raises
    ------
    UnlockableDropoutError
        Naming the modules.
    """
    with RandomnessWatch(module, call) as watch:
        _in_evaluation(watch, inputs, ignore)


def _in_evaluation(watch: RandomnessWatch, inputs: Nested, ignore: tuple[str, ...]) -> Observation:
    """A pass in evaluation mode, in which nothing but dropout may use random numbers.

    Those of ignored modules must have no effect. The second pass sees other random numbers.
    """
    quiet, again = watch.observe(inputs), watch.observe(inputs, shift=1)
    noise = {**_noise(quiet, again, ignore), **_allowed(quiet.no_mean, ignore)}
    if noise:
        raise UnlockableDropoutError(
            f"{_listed(watch, noise)} in evaluation mode{_threads(quiet)}: this randomness cannot be "
            f"locked. Remove it, or {_INSTEAD}. If no output depends on it: {_advice(list(noise))}"
        )
    if not same_output(quiet.output, again.output):
        raise _differing(watch, watch.first_difference(inputs), "evaluation")
    return quiet


def _noise(first: Observation, second: Observation, ignore: tuple[str, ...]) -> dict[str, str]:
    """Random numbers that are no dropout, by module; of another thread's only one pass sees any."""
    found = {**first.moved, **first.noise}
    return {
        name: what
        for name, what in found.items()
        if not is_ignored(name, ignore) and (name in second.moved or name in second.noise)
    }


def _allowed(found: dict[str, str], ignore: tuple[str, ...]) -> dict[str, str]:
    return {name: what for name, what in found.items() if not is_ignored(name, ignore)}


def _in_training(watch: RandomnessWatch, inputs: Nested, ignore: tuple[str, ...]) -> Observation:
    """A pass in training mode, in which nothing but dropout and masks may use random numbers.

    All training flags are on, except of ignored modules and of normalization layers, which would use the
    statistics of the batch. The second pass sees other random numbers.
    """
    norm = nn.modules.batchnorm._NormBase
    flags = {
        name: part
        for name, part in watch.parts.items()
        if not (isinstance(part, norm) or is_keras_normalization(part) or is_ignored(name, ignore))
    }
    loud, again, parts = _passes_in_training(watch, inputs, flags)
    noise = _noise(loud, again, ignore)
    if noise:
        raise UnlockableDropoutError(
            f"{_listed(watch, noise)} in training mode{_threads(loud)}, which cannot be locked. Instead "
            f"{_INSTEAD}, or switch it off: {_advice(list(noise))}"
        )
    if not same_output(loud.output, again.output):
        raise _differing(watch, watch.first_difference(inputs, parts), "training")
    return loud


def _passes_in_training(
    watch: RandomnessWatch, inputs: Nested, flags: dict[str, nn.Module]
) -> tuple[Observation, Observation, tuple[nn.Module, ...]]:
    """Two passes with these training flags on, and the modules. Refuses all that cannot run so."""
    failures: dict[str, str] = {}
    while len(failures) < _MOST_FAILURES:
        parts = tuple(flags.values())
        try:
            loud, again = watch.observe(inputs, parts), watch.observe(inputs, parts, shift=1)
        except ModelForwardError as error:
            name = module_at_fault(watch.module, error.__cause__ or error)
            failures[name] = str(error).replace(IN_FORWARD, ", in ")
            if flags.pop(name, None) is None:
                break
            continue
        if not failures:
            return loud, again, parts
        break
    raise UnlockableDropoutError(
        "the model cannot run in training mode, so dropout under `if self.training` cannot be found: "
        f"{'; '.join(failures.values())}. Correct it, or switch off the dropout inside: "
        f"{_advice(list(failures))}"
    )


def _differing(watch: RandomnessWatch, name: str, mode: str) -> UnlockableDropoutError:
    advice = f", or switch it off: {_advice([name])}" if mode == "training" else ""
    return UnlockableDropoutError(
        f"module {name!r} ({type(watch.parts[name]).__name__}) gives another output in each of two "
        f"passes over the same input in {mode} mode, although every dropout is off: it has a random "
        "number generator of its own, or remembers earlier inputs. Use a dropout function of "
        f"torch{advice}"
    )


def _refuse_unseen(
    watch: RandomnessWatch, quiet: Observation, loud: Observation, ignore: tuple[str, ...]
) -> None:
    """Refuse modules that look like dropout, change their output in training, and call no dropout."""
    before = dict(quiet.sums)
    for name, sums in loud.sums:
        part = watch.parts[name]
        if name in loud.sites or is_ignored(name, ignore) or not _looks_like_dropout(part):
            continue
        if before.get(name) != sums:
            raise UnlockableDropoutError(
                f"module {name!r} ({type(part).__name__}) has the name of a dropout but calls no "
                f"dropout function of torch. Call F.dropout in it, or switch it off: {_advice([name])}"
            )


def _only_drops(
    watch: RandomnessWatch, inputs: Nested, lifted: tuple[nn.Module, ...], quiet: Observation
) -> bool:
    """Whether these modules do in training mode what they do in evaluation mode, but for the masks.

    Random masks are replaced by their mean, which is right where the model divides by it; else by
    ones, and by zeros, for masks that say what is dropped.
    """
    for mask in (None, 1.0, 0.0):
        try:
            if same_output(watch.observe(inputs, lifted, mask).output, quiet.output):
                return True
        except ModelForwardError:  # e.g. a function that takes no mean in place of a bool mask
            continue
    return False


def _listed(watch: RandomnessWatch, noise: dict[str, str]) -> str:
    return "; ".join(
        f"module {name!r} ({type(watch.parts[name]).__name__}) uses {what}"
        for name, what in noise.items()
    )


def _threads(seen: Observation) -> str:
    if not seen.in_threads:
        return ""
    names = ", ".join(map(repr, sorted(seen.in_threads)))
    return (
        f" (module {names} runs in a thread of its own, where dropout cannot be found: run it in the "
        "main thread)"
    )


def _advice(names: list[str]) -> str:
    given = repr(names[0]) if len(names) == 1 else names
    return f"ignore={given} (on the command line --ignore {' '.join(names)})"


def refuse_torchscript(module: nn.Module, ignore: tuple[str, ...]) -> None:
    """Refuse TorchScript, before the probing: it takes no hooks either."""
    names: list[str] = []
    for name, part in named_parts(module).items():
        inside = is_ignored(name, (*ignore, *names))  # of what is named already
        if isinstance(part, torch.jit.ScriptModule) and not inside:
            names.append(name)
    if names:
        raise UnlockableDropoutError(
            f"module {', '.join(map(repr, names))} is TorchScript; the dropouts inside it cannot be "
            "found. Load the Python class with its weights instead, or switch them off: "
            f"{_advice(names)}"
        )


def _looks_like_dropout(part: nn.Module) -> bool:
    """A leaf module of the user's own, named like dropout, with a probability other than 0."""
    if type(part).__module__.startswith("torch.nn") or not is_leaf(part):
        return False
    probability = next(
        (getattr(part, name) for name in ("p", "drop_prob", "rate", "prob") if hasattr(part, name)),
        None,
    )
    return "drop" in type(part).__name__.lower() and probability != 0


def idle_dropouts(module: nn.Module, seen: set[str]) -> dict[str, str]:
    """Dropout layers of torch and of Keras that drop nothing, by name, with the reason."""
    rates = {name: _rate(part) for name, part in module.named_modules()}
    return {
        name: "p = 0" if rate == 0 else "not called by the forward pass"
        for name, rate in rates.items()
        if rate is not None and name not in seen
    }


def _rate(part: nn.Module) -> float | None:
    """Probability of a layer of torch or Keras that does nothing but drop; None for others."""
    if isinstance(part, nn.modules.dropout._DropoutNd):
        return part.p
    return float(part.rate) if is_keras(part) and hasattr(part, "rate") else None  # type: ignore[arg-type]
