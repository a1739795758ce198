"""One forward pass under the masks of one draw."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from kipoi_mcdropout.dropout.call import DropoutCall
from kipoi_mcdropout.dropout.calls import DropoutInterceptor
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.random_functions import LOST, MAKERS
from kipoi_mcdropout.dropout.sites import Site, SitePlan
from kipoi_mcdropout.errors import ModelError

NO_DRAW = -1  # in place of a draw: dropout off


class LockedPass(DropoutInterceptor):
    """Applies the masks of one draw, site by site, in call order."""

    def __init__(
        self,
        plan: SitePlan,
        masks: MaskBank,
        draw: int,
        scope: int,
        n: int,
        random_begins: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self._random_begins = random_begins  # called before each random number
        self.plan, self.masks, self.draw, self.scope, self.n = plan, masks, draw, scope, n
        self.position = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if self._random_begins is not None and (func in MAKERS or func in LOST):
            self._random_begins()
        return super().__torch_function__(func, types, args, kwargs)

    def drop(self, call: DropoutCall) -> Tensor:
        """The result of a dropout call under the mask of its site."""
        if self._random_begins is not None:
            self._random_begins()
        if self.draw == NO_DRAW:
            return call.x
        site = self._next_site(call)
        if site.ignored:
            return call.x
        where = self.draw, self.scope, call.x.device
        if not site.is_noise:
            return call.apply(site.over_batch(self.masks.keep(site, *where), self.n))
        numbers = site.over_batch(self.masks.numbers(site, *where, call.x.dtype), self.n)
        return call.apply(numbers if call.is_noise else numbers >= call.p)

    def _next_site(self, call: DropoutCall) -> Site:
        if self.position >= len(self.plan.sites):
            raise self._changed(f"one more dropout than the {len(self.plan.sites)} of the first pass")
        site = self.plan.sites[self.position]
        self.position += 1
        expected, came = site.seen_shape(self.n), call.mask_shape()
        if site.ignored and site.kind == call.kind:
            return site
        # Probabilities that differ between inputs are alike where all inputs of a batch are.
        kinds = {site.kind, call.kind}
        alike = (len(kinds) == 1 or kinds == {"mask", "drop_path"}) and site.p == call.p
        alike = alike or (call.is_mask and site.is_noise)
        if not alike or expected != came:
            raise self._changed(
                f"{call.kind} with p={call.p} on shape {came} where site {site.index} ({site.name}) is "
                f"{site.kind} with p={site.p} on shape {expected}"
            )
        return site

    def finish(self) -> None:
        """Raise ModelError if a site was not called."""
        if self.draw != NO_DRAW and self.position != len(self.plan.sites):
            raise self._changed(f"{self.position} dropouts instead of {len(self.plan.sites)}")

    def _changed(self, what: str) -> ModelError:
        return ModelError(
            f"the forward pass differs between batches: it called {what}. Each mask belongs to one "
            "dropout call, so the order of the calls must not depend on the data"
        )
