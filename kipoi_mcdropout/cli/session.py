"""From the command line's words to a loaded Kipoi model and its data."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from typing import Any

from kipoi_mcdropout.arrays.nested import leaves
from kipoi_mcdropout.cli.messages import bar_is_off
from kipoi_mcdropout.errors import InputError, is_machine_failure


def load_data(args: argparse.Namespace, model: Any) -> tuple[Any, dict[str, Any]]:
    """The dataloader, and the arguments it was made with.

    Raises
    ------
    InputError
        If Kipoi cannot make it with the arguments given.
    """
    import kipoi
    from kipoi_utils.utils import parse_json_file_str_or_arglist

    from kipoi_mcdropout.model.sibling_code import hidden

    with explained("--dataloader_args must be JSON, a .json file, or words of the form key=value"):
        kwargs = _as_json(args.dataloader_args)
        if kwargs is None:
            kwargs = parse_json_file_str_or_arglist(args.dataloader_args)
    with explained("the dataloader cannot be created; give its arguments with --dataloader_args"):
        if args.dataloader is None:
            factory = required_dataloader(model)
        else:
            with hidden():
                factory = kipoi.get_dataloader_factory(
                    args.dataloader, args.dataloader_source or "kipoi"
                )
        known = set(factory.args)
        if unknown := set(kwargs) - known:
            raise InputError(f"unknown {sorted(unknown)}; it takes {sorted(known)}")
        required = {name for name, argument in factory.args.items() if not argument.optional}
        if missing := required - set(kwargs):
            raise InputError(f"missing {sorted(missing)}; it takes {sorted(known)}")
        return factory(**kwargs), kwargs


def required_dataloader(model: Any) -> Any:
    """The model's own dataloader; InputError where it has none."""
    found = getattr(model, "default_dataloader", None)
    if found is None:
        raise InputError(
            "the model has no dataloader of its own; name one with --dataloader and --dataloader_source"
        )
    return found


def _as_json(words: list[str] | None) -> dict[str, Any] | None:
    """The arguments of a dataloader from one word of JSON; None where it is none.

    Kipoi reads JSON as YAML, which refuses file names that are no text in the locale's encoding.
    """
    try:
        value = json.loads(words[0]) if words and len(words) == 1 else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def batches(args: argparse.Namespace, dataloader: Any) -> Iterator[dict[str, Any]]:
    """Batches of the dataloader.

    Raises
    ------
    InputError
        If it gives none, or fails while reading.
    """
    n = 0
    iterator = iter(dataloader.batch_iter(batch_size=args.batch_size, num_workers=args.num_workers))
    while True:
        with explained(f"the dataloader failed after {n} sequences"):
            try:
                batch = next(iterator)
            except StopIteration:
                break
        n += len(next(leaves(batch["inputs"]))[1])
        yield batch
    if n == 0:
        raise InputError("the dataloader gave no sequence; check the files in --dataloader_args")


def number_of_sequences(dataloader: Any) -> int | None:
    """Number of sequences, if the dataloader knows it."""
    try:
        return len(dataloader)
    except (TypeError, NotImplementedError):
        return None


class Progress:
    """A progress bar on stderr with the time left; silent where stderr is no terminal."""

    def __init__(self, n_sequences: int | None) -> None:
        from tqdm import tqdm

        self._n_sequences = n_sequences
        self._bar = tqdm(unit="forward", unit_scale=True, disable=bar_is_off(), file=sys.stderr)

    def update(self, done: int, per_sequence: int) -> None:
        """Add (mutant, draw) pairs; each sequence is taken to need as many as this one."""
        if self._n_sequences is not None and self._bar.total is None:
            self._bar.total = self._n_sequences * per_sequence
        self._bar.update(done)

    def sequence(self, effects: Any) -> None:
        """Add a sequence that was computed elsewhere."""
        n = len(effects.substitutions.position) * (effects.summaries[0].n_draws + 1)
        self.update(n, n)

    def close(self) -> None:
        """Remove the bar's claim on the line."""
        self._bar.close()


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn errors of Kipoi and of the user's model or dataloader into ours, with `what` in front."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except (Exception, SystemExit) as error:  # anything can come from code that is not ours
        if is_machine_failure(error):
            raise
        detail = " ".join(str(error).split()) or type(error).__name__
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        raise InputError(f"{what}: {kind}{detail}") from error
