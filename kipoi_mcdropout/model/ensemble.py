"""The members of a model: trained networks (folds, replicates, checkpoints) that answer one question.

Members are put into the order of the checksums of their weights, so that a result does not depend on
the order in which they are given: draw d is of member d mod M in that order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kipoi_mcdropout.arrays.nested import Nested, leaves, take
from kipoi_mcdropout.dropout.masks import check_n_draws
from kipoi_mcdropout.dropout.sites import NO_SITES, SitePlan
from kipoi_mcdropout.errors import InputError, ModelError, NoRandomSiteError
from kipoi_mcdropout.model.adapter import KipoiModel, alphabet_of
from kipoi_mcdropout.model.network import source_of
from kipoi_mcdropout.outputs.targets import Targets

DEFAULT_DRAWS = 30
OWN_DRAWS = -1  # in place of a number of draws: as many as suit the model (`default_draws`)
_SHOWN = 3  # labels that differ, in an error


@dataclass(frozen=True)
class Ensemble:
    """One or more members that take the same inputs and give the same outputs.

    Attributes
    ----------
    first : KipoiModel
        The one that was given first: it says what the inputs and outputs are called.
    members : tuple of KipoiModel
        All of them, in the order of the checksums of their weights.
    names : tuple of str
        Of the members, for people to read.
    """

    first: KipoiModel
    members: tuple[KipoiModel, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, models: Sequence[KipoiModel], names: Sequence[str] | None = None) -> Ensemble:
        """The members in their order.

        Raises
        ------
        InputError
            If there is none; if two have the same weights and the same code; or if they take other
            inputs or other bases, or name other outputs, as far as they say so.
        """
        if not models:
            raise InputError("at least one model is required; got none")
        called = names or [_name(model, i) for i, model in enumerate(models, 1)]
        if len(models) == 1:
            return cls(models[0], tuple(models), tuple(called))
        for model, name in zip(models[1:], called[1:], strict=True):
            _check_agreement(models[0], called[0], model, name)
        found = [model.identity() for model in models]  # reads all weights
        weights = [identity["weights_sha256"] for identity in found]
        identities = [tuple(sorted(identity.items())) for identity in found]
        for i, identity in enumerate(identities):
            if identity in identities[:i]:
                raise InputError(
                    f"members must differ; {called[i]} has the same weights and code as "
                    f"{called[identities.index(identity)]} (compared by checksum). Give each "
                    "network once"
                )
        order = sorted(range(len(models)), key=lambda i: (weights[i], identities[i]))
        return cls(models[0], tuple(models[i] for i in order), tuple(called[i] for i in order))

    def __len__(self) -> int:
        return len(self.members)

    def check_several(self, what: str) -> None:
        """Raise InputError for something that makes sense only where there are several members."""
        if len(self) == 1:
            raise InputError(f"{what} needs a model with several members (--member); this one is alone")

    @property
    def first_in_front(self) -> tuple[KipoiModel, ...]:
        """The members with the first in front, for `Ensemble.of` in another process."""
        return (self.first, *(member for member in self.members if member is not self.first))

    def is_random(self, inputs: Nested) -> tuple[bool, ...]:
        """Whether each member has dropout, for inputs (numpy) of this shape.

        Raises
        ------
        NoRandomSiteError
            If there is one member alone, and nothing is random in it.
        ModelError
            If a member cannot be run under locked dropout; it is named.
        """
        return tuple(bool(plan.sites) for plan in self.site_plans(inputs))

    def site_plans(self, inputs: Nested) -> tuple[SitePlan, ...]:
        """The dropout sites of each member, for inputs (numpy) of this shape; NO_SITES without dropout.

        Raises
        ------
        NoRandomSiteError, ModelError
            See `is_random`.
        """
        found = []
        for model, name in zip(self.members, self.names, strict=True):
            one = model.tensors(take(model.arrays(inputs), slice(0, 1)))
            try:
                with model.locked.borrow():
                    found.append(model.locked.plan(one))
            except NoRandomSiteError:
                if len(self.members) == 1:
                    raise
                found.append(NO_SITES)
            except ModelError as error:
                if len(self.members) > 1:
                    error.args = (f"{name}: {error}",)
                raise
        return tuple(found)

    def plan(self, inputs: Nested, n_draws: int) -> SitePlan:
        """The dropout sites of the first model, for inputs (numpy) of this shape.

        None where it has no dropout and is one of several members, or for no draws.
        """
        several = n_draws > 0 and len(self) > 1
        if several and not self.is_random(inputs)[self.members.index(self.first)]:
            return NO_SITES
        one = self.first.tensors(take(self.first.arrays(inputs), slice(0, 1)))
        with self.first.locked.borrow():
            return self.first.locked.plan_for(one, n_draws)

    def described(self) -> list[dict[str, str]]:
        """Name and identity of each member, in their order, for the record; nothing for one alone."""
        if len(self) == 1:
            return []
        return [
            {"name": name, **member.identity()}
            for name, member in zip(self.names, self.members, strict=True)
        ]

    def check_targets(self, inputs: Nested, wanted: Sequence[str | int], chosen: Targets) -> None:
        """Raise InputError unless all members give the outputs that were chosen of the first."""
        for model, name in zip(self.members, self.names, strict=True):
            if model is self.first:
                continue
            with model.locked.borrow():
                theirs = model.targets(model.example_outputs(model.arrays(inputs)), wanted)
            if theirs.n_outputs != chosen.n_outputs:
                raise InputError(
                    f"all members must have the same outputs; {name} has {theirs.n_outputs} for each "
                    f"input, the first model has {chosen.n_outputs}"
                )
            _check_labels("outputs", chosen.labels, name, theirs.labels)
            if theirs.profiles != chosen.profiles:
                raise InputError(
                    f"all members must have profiles of the same bins; {name} has others than the first "
                    "model"
                )


def check_balanced(n_draws: int, n_members: int) -> int:
    """Draws of each member.

    Raises
    ------
    InputError
        If the draws cannot be shared out evenly.
    """
    if n_draws % n_members:
        more = -(-n_draws // n_members) * n_members
        raise InputError(
            f"n_draws must be a multiple of the number of members, {n_members}, so that each member "
            f"has as many draws; got {n_draws}. Use {more} (--n_draws {more})"
        )
    return n_draws // n_members


def draws_of(n_draws: int | None, n_members: int | None = None) -> int:
    """A number of draws; where none is given 30 for one member, else OWN_DRAWS, to be decided later."""
    if n_draws is None:
        return DEFAULT_DRAWS if n_members == 1 else OWN_DRAWS
    return n_draws


def check_draws(n_draws: int) -> None:
    """Raise InputError unless it is 0, at least 2, or OWN_DRAWS."""
    if n_draws != OWN_DRAWS or isinstance(n_draws, bool):
        check_n_draws(n_draws)


def decided_draws(n_draws: int, ensemble: Ensemble, inputs: Nested) -> int:
    """The number of draws, by `default_draws` where it was left to the model; `inputs` are numpy.

    Raises
    ------
    InputError
        If the draws cannot be shared out evenly among the members.
    """
    n = default_draws(ensemble, inputs) if n_draws == OWN_DRAWS else n_draws
    check_balanced(n, len(ensemble))
    return n


def default_draws(ensemble: Ensemble, inputs: Nested) -> int:
    """Number of draws where none is asked for.

    30; with several members the next multiple of their number; and where no member has dropout as many
    as there are members, since more would be copies of these.
    """
    n = len(ensemble)
    if n == 1:
        return DEFAULT_DRAWS
    if not any(ensemble.is_random(inputs)):
        return n
    return -(-DEFAULT_DRAWS // n) * n


def _name(model: KipoiModel, number: int) -> str:
    """What a member is called: by its number, and the file or the model that it comes from."""
    source = source_of(model.model)
    weights = None if source is None else source.weights
    origin = weights or getattr(model.model, "name", None)
    return f"member {number}" + (f" ({origin})" if origin else "")


def _check_agreement(first: KipoiModel, name: str, other: KipoiModel, other_name: str) -> None:
    """What the models say of themselves must not differ."""
    ours, theirs = alphabet_of(first.model), alphabet_of(other.model)
    if ours != theirs:
        raise InputError(
            f"all members must take the bases in one order; {name} takes {ours}, {other_name} {theirs}"
        )
    schemas = [getattr(model.model, "schema", None) for model in (first, other)]
    if None in schemas:
        return
    inputs = [_arrays(getattr(schema, "inputs", None)) for schema in schemas]
    if inputs[0] != inputs[1]:
        raise InputError(
            f"all members must take the same inputs; {name} takes {_in_words(inputs[0])}, {other_name} "
            f"{_in_words(inputs[1])}"
        )


def _arrays(schema: object) -> list[tuple[str, tuple[int | None, ...]]]:
    """Name and shape of each array of a schema."""
    return [
        (str(getattr(array, "name", None) or path), tuple(getattr(array, "shape", None) or ()))
        for path, array in leaves(schema)
    ]


def _in_words(arrays: Sequence[tuple[str, tuple[int | None, ...]]]) -> str:
    return ", ".join(f"{name!r} of shape {shape}" for name, shape in arrays)


def _check_labels(what: str, ours: Sequence[str], name: str, theirs: Sequence[str]) -> None:
    differ = [(a, b) for a, b in zip(ours, theirs, strict=False) if a != b]
    if differ or len(ours) != len(theirs):
        pairs = ", ".join(f"{b!r} where the first model has {a!r}" for a, b in differ[:_SHOWN])
        raise InputError(
            f"all members must name the same {what} in the same order; {name} has "
            f"{pairs or f'{len(theirs)} of them, the first model {len(ours)}'}"
            + (", ..." if len(differ) > _SHOWN else "")
        )
