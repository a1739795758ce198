"""One random input of the shapes that a model's schema says."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.nested import Nested, leaves, map_nested
from kipoi_mcdropout.errors import InputError


def example_of(schema: Any, embeds: bool) -> Nested:
    """A batch of one random input; one-hot where an axis has 4 or 5 places.

    Parameters
    ----------
    schema : the `inputs` of a Kipoi model's schema
    embeds : bool
        Whether the model has an embedding.

    Raises
    ------
    InputError
        If the only input seems to be tokens, or a shape is left open.
    """
    _check_no_tokens(schema, embeds)
    return map_nested(_random_input, schema)


def _check_no_tokens(schema: Any, embeds: bool) -> None:
    """Refuse to make up an only input that seems to be tokens."""
    shapes = [tuple(array.shape) for _, array in leaves(schema)]
    if embeds and len(shapes) == 1 and len(shapes[0]) == 1:
        raise InputError(
            f"the model has an embedding and one input, of shape {shapes[0]}. If these are tokens, one "
            "a base, give vocabulary (--vocabulary), such as A=7,C=8,G=9,T=10,N=11. Otherwise give x=, "
            "an array of inputs (--dataloader_args)"
        )


def _random_input(array: Any) -> NDArray[np.float32]:
    shape = tuple(array.shape)
    if any(size is None for size in shape):
        raise InputError(
            f"the model's schema leaves the shape of input {array.name!r} open: {shape}. Give x=, an "
            "array of inputs, or make the model with input_shape (--dataloader_args)"
        )
    random = np.random.default_rng(0)
    bases = next((size for size in (4, 5) if len(shape) > 1 and size in shape), None)
    if bases is None:
        return random.random((1, *shape), dtype=np.float32)
    axis = max(i for i, size in enumerate(shape) if size == bases)
    others = [size for i, size in enumerate(shape) if i != axis]
    one_hot = np.eye(bases, dtype=np.float32)[random.integers(0, 4, (1, *others))]
    return np.ascontiguousarray(np.moveaxis(one_hot, -1, axis + 1))
