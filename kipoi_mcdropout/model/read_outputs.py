"""A model's forward pass with a readout behind it: it gives the numbers that are scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from kipoi_mcdropout.arrays.nested import Nested, leaves, map_nested, n_rows
from kipoi_mcdropout.dropout.probe import Call
from kipoi_mcdropout.errors import InputError, ModelError, TargetError
from kipoi_mcdropout.model.output_names import SaidArray, array_labels, titled_arrays
from kipoi_mcdropout.outputs.bound import BoundReadout, bind
from kipoi_mcdropout.outputs.readout import Readout
from kipoi_mcdropout.outputs.used import why_unusable

_SHOWN = 10


class ReadOutputs:
    """Runs a model and reads its outputs; it fits the readout to the first outputs that come.

    The readout is a part of the pass, so an engine that captures the model captures it too.

    Parameters
    ----------
    call : callable
        The model: nested tensors in, nested tensors out.
    readout : Readout
    schema : Kipoi array schema, optional
        Of the outputs, with the names of the tracks.
    names : sequence of str, optional
        Names of the tracks, in place of those of the schema.
    label_axis : int, optional
        Axis of an output that the names belong to, where they fit several.
    """

    def __init__(
        self,
        call: Call,
        readout: Readout,
        schema: Any = None,
        names: Sequence[str] | None = None,
        label_axis: int | None = None,
    ) -> None:
        self._call, self.readout = call, readout
        self._schema, self._names, self._label_axis = schema, names, label_axis
        self._path, self._is_off = "", False
        self._bound: dict[tuple[int, ...], BoundReadout] = {}  # by the shape of the output
        self._last: BoundReadout | None = None  # of the outputs that came last

    @property
    def bound(self) -> BoundReadout:
        """The readout for the outputs that came last, once the model has run."""
        assert self._last is not None
        return self._last

    @contextmanager
    def off(self) -> Iterator[None]:
        """Within it, the outputs are those of the model."""
        self._is_off = True
        try:
            yield
        finally:
            self._is_off = False

    def __call__(self, inputs: Nested) -> Nested:
        """The numbers of a batch, shape=(n, labels).

        Raises
        ------
        TargetError, InputError
            If the readout does not fit the outputs (`bound.bind`), or names no output.
        ModelError
            If the output that is read is missing, or is no tensor of real numbers with the batch first.
        """
        if self._is_off:
            return self._call(inputs)
        n = n_rows(inputs)
        outputs = map_nested(lambda x: None if why_unusable(x, n) else x, self._call(inputs))
        usable = dict(leaves(outputs))
        if not self._bound:
            self._path = self._head(outputs, usable)
        leaf = usable.get(self._path)
        if leaf is None:
            raise ModelError(
                f"the model must return a tensor of real numbers with the batch of {n} first as "
                f"{_named(self._path)}, which is read"
            )
        shape = tuple(leaf.shape[1:])
        if shape not in self._bound:
            self._bound[shape] = self._fitted(outputs, shape)
            self._refuse_other_bins(self._bound[shape])
        self._last = self._bound[shape]
        return self._last.values(leaf)

    def _refuse_other_bins(self, bound: BoundReadout) -> None:
        """Profiles that are compared must have as many bins in every sequence of a run."""
        first = next(iter(self._bound.values()))
        if bound.profiles(()) != first.profiles(()):
            raise InputError(
                "profiles can be compared where all sequences have as many bins in the window; "
                f"{first.axes.n_bins} bins came before, now {bound.axes.n_bins}. Give a window about "
                "the centre (--center_bins), or sequences of one length"
            )

    def _head(self, outputs: Nested, usable: dict[str, Tensor]) -> str:
        """The path of the output that is read."""
        if not usable:
            raise ModelError("the model returns no tensor of real numbers with the batch as first axis")
        wanted = self.readout.head
        titles = self._titles(outputs)
        words = [
            f"{titles[path] or path!r} of shape {tuple(leaf.shape[1:])}"
            for path, leaf in list(usable.items())[:_SHOWN]
        ]
        if wanted is None:
            if len(usable) > 1:
                raise TargetError(
                    f"the model has {len(usable)} outputs: {', '.join(words)}. Choose the one to read "
                    "with head (--head)"
                )
            return next(iter(usable))
        named = [path for path in usable if wanted in (path, titles[path])]
        if len(named) != 1:
            raise TargetError(f"head {wanted!r} names none of the model's outputs: {', '.join(words)}")
        return named[0]

    def _said(self, outputs: Nested) -> dict[str, SaidArray]:
        """What is said of each array, by its path; only the arrays count that could be read."""
        found = [path for path, _ in leaves(outputs)]
        return dict(zip(found, titled_arrays(outputs, self._schema), strict=True))

    def _titles(self, outputs: Nested) -> dict[str, str]:
        return {path: array.title for path, array in self._said(outputs).items()}

    def _fitted(self, outputs: Nested, shape: tuple[int, ...]) -> BoundReadout:
        said = self._said(outputs)[self._path]
        what = f"the model's output{f' {said.title!r}' if said.title else ''}"
        names = said.names
        if self._names is not None:
            names = tuple(self._names)
            if len(names) not in shape:
                raise InputError(
                    f"outputs (--outputs) must name the tracks of {what}, of shape {shape} (without the "
                    f"batch), where outputs are read; got {len(names)} names"
                )
        axis = self.readout.track_axis
        axis = self._label_axis if axis is None else axis
        labels = array_labels(said.title, shape, names, axis, "track_axis")
        return bind(self.readout, labels, what)


def _named(path: str) -> str:
    return f"output {path!r}" if path else "its output"
