"""The plain forward pass with locked masks: every faster way must give the same result."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch
from torch import Tensor, nn

from kipoi_mcdropout.arrays.nested import Nested, leaves, map_nested, n_rows, take
from kipoi_mcdropout.dropout.autocast import Autocast
from kipoi_mcdropout.dropout.batch_check import Observed, observe
from kipoi_mcdropout.dropout.borrow import borrowed, call_module, user_code
from kipoi_mcdropout.dropout.device import device_of
from kipoi_mcdropout.dropout.fewer_inputs import FewerInputs
from kipoi_mcdropout.dropout.guarded import refuse_random_point
from kipoi_mcdropout.dropout.input_types import InputTypes
from kipoi_mcdropout.dropout.locked_pass import NO_DRAW, LockedPass
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.masks import RUN_SCOPE
from kipoi_mcdropout.dropout.memory import is_out_of_memory
from kipoi_mcdropout.dropout.named_parts import (
    explained,
    known_names,
    plain_module,
    refuse_sharded,
    refuse_uninitialised,
)
from kipoi_mcdropout.dropout.probe import Call, Probe, probe_inputs, training_flag
from kipoi_mcdropout.dropout.shared_passes import SharedPasses, Sharing
from kipoi_mcdropout.dropout.sites import NO_SITES, SitePlan, find_sites
from kipoi_mcdropout.errors import (
    BatchDependenceError,
    McDropoutError,
    ModelForwardError,
    UnlockableDropoutError,
)
from kipoi_mcdropout.outputs.matrix import flatten_outputs
from kipoi_mcdropout.outputs.used import OutputLeftOutWarning, UsedOutputs

POINT = NO_DRAW  # in place of a draw: the prediction with dropout off
# Inputs in a forward pass, where nobody says how many; a GPU needs many to be busy.
MOST_AT_A_TIME, _MOST_ON_A_GPU = 32, 512
_NOT_THE_MODELS = (
    McDropoutError,
    ModelForwardError,
    KeyboardInterrupt,
    MemoryError,
    torch.OutOfMemoryError,
)


class LockedModel:
    """A PyTorch model whose dropout is under our control, draw by draw.

    Parameters
    ----------
    module : nn.Module
        Used in evaluation mode while `borrow()` is active, and restored afterwards.
    call : callable, optional
        How to run it on nested tensors; by default as Kipoi does (`call_module`).
    ignore : tuple of str
        Modules whose dropout stays off, including the dropout inside them.
    autocast : Autocast, optional
        The type in which the module computes; `call`, if it is given, must be wrapped by it.
    allow_tf32 : bool
        Let a GPU round the factors of float32 products to TF32.

    Raises
    ------
    InputError
        If `ignore` names a module that the model does not have.
    ModelError
        If a module has no weights yet.
    """

    def __init__(
        self,
        module: nn.Module,
        call: Call | None = None,
        ignore: tuple[str, ...] = (),
        autocast: Autocast | None = None,
        allow_tf32: bool = False,
    ) -> None:
        self.module = plain_module(module)
        refuse_sharded(self.module)
        refuse_uninitialised(self.module)
        self.autocast = autocast or Autocast(self.module)
        self.allow_tf32 = allow_tf32
        self.call = call or self.autocast.wrap(call_module(self.module))
        self.ignore = known_names(self.module, ignore)
        self._plans: dict[tuple[object, ...], SitePlan] = {}
        self._observed: dict[tuple[object, ...], Observed] = {}
        self._used: dict[tuple[object, ...], UsedOutputs] = {}
        self._eps = 0.0
        self._input_bytes: dict[tuple[object, ...], int] = {}
        self._sharing: dict[tuple[object, ...], Sharing] = {}
        self._fewer = FewerInputs()
        self._points: set[tuple[object, ...]] = set()  # shapes of input for which `point` was checked

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        return device_of(self.module)

    @contextmanager
    def borrow(self) -> Iterator[LockedModel]:
        """Hold the model in evaluation mode; as it was afterwards, also after an error."""
        with borrowed(self.module, self.allow_tf32):
            yield self

    @property
    def dtype(self) -> str:
        """The type in which the model computes; "float32" stands for its own types."""
        return self.autocast.dtype

    @contextmanager
    def own_types(self) -> Iterator[None]:
        """Within it, the model computes in its own types, whatever `dtype` is."""
        dtype, self.autocast.dtype = self.dtype, "float32"
        try:
            yield
        finally:
            self.autocast.dtype = dtype

    def run(self, inputs: Nested) -> Nested:
        """Run the user's forward pass, and leave out what cannot be reported (`used`).

        Errors become one of ours, with the module and the line.

        Raises
        ------
        ModelForwardError
            If the model's own code raises, or ends the program. Errors of memory are not changed.
        """
        with user_code():
            try:
                outputs = self.call(map_nested(torch.clone, inputs))  # some write into their input
            except _NOT_THE_MODELS:
                raise
            except (Exception, SystemExit) as error:
                if is_out_of_memory(error):
                    raise
                raise explained(self.module, error) from error
        used = self._used.get(_shapes(inputs))
        return outputs if used is None else used.prune(outputs)

    @property
    def eps(self) -> float:
        """Relative precision of the model's arithmetic, once it has run: 1.2e-7 for float32.

        That of the coarsest floating-point type among the outputs and the weights of its modules.
        """
        return self._eps

    @property
    def left_out(self) -> dict[str, str]:
        """What the model returns and is not reported, with the reason, once it has run."""
        return {path: why for used in self._used.values() for (path, _), why in used.left_out.items()}

    def used(self, inputs: Nested) -> UsedOutputs:
        """Which of the model's outputs are reported, for inputs of this shape, within `borrow()`.

        Raises
        ------
        ModelError
            If there is none.
        """
        key = _shapes(inputs)
        if key not in self._used:
            self._observed[key] = self._observe(inputs)
        return self._used[key]

    def plan(self, inputs: Nested) -> SitePlan:
        """Dropout sites for inputs of this shape; see `sites.find_sites` for the errors."""
        key = _shapes(inputs)
        if key not in self._plans:
            with suppress(UnlockableDropoutError):  # find_sites knows better what is random
                self.takes_one(inputs)
            known = self._observed.get(key)
            self._plans[key] = find_sites(self.module, self.run, inputs, self.ignore, known)
            self._observed.pop(key, None)
        return self._plans[key]

    def plan_for(self, inputs: Nested, n_draws: int) -> SitePlan:
        """As `plan`; for no draws the model needs no dropout, and it may have one that can't be locked.

        Raises
        ------
        UnlockableDropoutError
            For no draws: if the model is random in evaluation mode by anything but dropout.
        """
        if n_draws > 0:
            return self.plan(inputs)
        key = _shapes(inputs)
        if key not in self._points:
            takes_one = self.takes_one(inputs)  # checks that the rows of a batch are independent
            few = take(probe_inputs(inputs), [0] if takes_one else [0, 1])
            refuse_random_point(self.module, self.run, few, self.ignore)
            self._points.add(key)
        return NO_SITES

    def takes_one(self, inputs: Nested) -> bool:
        """Whether the model runs on a batch of one input of this shape, within `borrow()`.

        Raises
        ------
        BatchDependenceError
            If the outputs of an input depend on the other inputs in the batch.
        """
        key = _shapes(inputs)
        if key in self._plans:
            return self._plans[key].takes_one
        if key not in self._observed:
            self._observed[key] = self._observe(inputs)
        return self._observed[key].takes_one

    def bytes_of_one(self, inputs: Nested) -> int:
        """About how much memory the activations of one input of this shape take, within `borrow()`.

        Twice what the largest of the modules takes and returns: a residual branch, for example, needs
        memory beside it.
        """
        self.takes_one(inputs)
        return 2 * self._input_bytes.get(_shapes(inputs), 0)

    def fitting(self, inputs: Nested, memory_bytes: float) -> int:
        """How many inputs of this shape to run at a time: at most 32, and such as fit into memory.

        On a GPU at most 512.
        """
        most = MOST_AT_A_TIME if self.device.type == "cpu" else _MOST_ON_A_GPU
        return int(min(max(memory_bytes // max(self.bytes_of_one(inputs), 1), 1), most))

    def _observe(self, inputs: Nested) -> Observed:
        try:
            with Probe(self.module, self.run) as probe:
                observed = observe(probe, probe_inputs(inputs))
        except (UnlockableDropoutError, BatchDependenceError):
            pair = take(probe_inputs(inputs), [0, 1])
            refuse_random_point(self.module, self.run, pair, self.ignore)  # says what is random
            raise
        known = self.left_out.keys()
        self._used[_shapes(inputs)] = observed.used
        self._eps = max(self._eps, observed.eps)
        self._input_bytes[_shapes(inputs)] = observed.input_bytes
        if self.left_out.keys() != known:
            warnings.warn(observed.used.warning(), OutputLeftOutWarning, stacklevel=2)
        return observed

    def outputs(
        self,
        inputs: Nested,
        draw: int,
        masks: MaskBank,
        scope: int = RUN_SCOPE,
        selected: Tensor | None = None,
        shared: SharedPasses | None = None,
    ) -> Tensor:
        """Outputs of a batch under the masks of one draw, within `borrow()`.

        Parameters
        ----------
        inputs : nested tensors, each shape=(n, ...), on the model's device
        draw : int
            Number of the draw, from 0, or POINT for dropout off.
        masks : MaskBank
        scope : int
            0 for masks shared by the run, else the sequence's own (masks.keep_mask).
        selected : Tensor of int64, optional
            Output columns to keep.
        shared : SharedPasses, optional
            Given to all passes over the same inputs, so that what no mask changes is computed once.

        Returns
        -------
        Tensor, shape=(n, outputs)

        Warns
        -----
        LessMemoryWarning
            If memory runs out: it goes on with half as many inputs at a time.
        """
        if draw != POINT:
            self.plan(inputs)
        takes_one = self.takes_one(inputs)  # checks, too, that the rows of a batch are independent

        def one_pass(inputs: Nested, whole: bool) -> Tensor:
            if n_rows(inputs) == 1 and not takes_one:  # some models squeeze a batch of one away
                return one_pass(_twice(inputs), whole)[:1]
            outputs = self.raw_outputs(inputs, draw, masks, scope, shared if whole else None)
            return flatten_outputs(self.used(inputs).select(outputs), n_rows(inputs), selected)

        return self._fewer.run(inputs, one_pass, self.device)

    def raw_outputs(
        self,
        inputs: Nested,
        draw: int,
        masks: MaskBank,
        scope: int = RUN_SCOPE,
        shared: SharedPasses | None = None,
    ) -> Nested:
        """As `outputs`, in the model's own structure, without what is left out."""
        n = n_rows(inputs)
        plan = NO_SITES if draw == POINT else self.plan(inputs)

        def one_pass(random_begins: Callable[[], None] | None = None) -> Nested:
            locked = LockedPass(plan, masks, draw, scope, n, random_begins)
            with training_flag(plan.lifted), locked:
                outputs = self.run(inputs)
            locked.finish()
            return outputs

        # The modules of `lifted` do other things in a draw than with dropout off.
        if shared is None or (draw == POINT and self.plan(inputs).lifted):
            return one_pass()
        key = (*_shapes(inputs), self.dtype)
        return shared.run(self._sharing.setdefault(key, Sharing(self.module)), one_pass)


def _shapes(inputs: Nested) -> tuple[object, ...]:
    return tuple((path, tuple(x.shape[1:]), x.dtype) for path, x in leaves(inputs))


def _twice(inputs: Nested) -> Nested:
    return map_nested(lambda x: torch.cat([x, x]), inputs)


def locked_forward(
    module: nn.Module, inputs: Nested, draw: int, seed: int, scope: int = RUN_SCOPE
) -> Tensor:
    """Outputs of a PyTorch module with the masks of one draw (or POINT, dropout off).

    `inputs` are tensors or numpy arrays, batch first; they go to the module's device, in the type of its
    weights.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5), nn.Linear(3, 1))
    >>> locked_forward(net, torch.ones(4, 2), draw=0, seed=1).shape
    torch.Size([4, 1])
    """
    model = LockedModel(module)
    model.call = InputTypes(model.module).wrap(model.call)
    tensors = map_nested(lambda x: torch.as_tensor(x, device=model.device), inputs)
    with model.borrow():
        return model.outputs(tensors, draw, MaskBank(seed), scope)
