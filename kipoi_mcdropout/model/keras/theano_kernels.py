"""Convolutions of models that were trained on Theano, which turned each kernel around.

Theano convolved, TensorFlow and torch correlate: w[k] multiplies x[t - k] in the one, x[t + k] in the
others. Keras 2 turned the kernels when it loaded weights of the other kind; Keras 3 does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kipoi_mcdropout.errors import ModelError

Values = list[tuple[str, list[np.ndarray]]]


def flip_kernels(model: Any, values: Values, keras: Any) -> Values:
    """Weights of Theano for torch: the kernels of convolutions turned around along their positions.

    Parameters
    ----------
    model : keras.Model
    values : list of (str, list of arrays)
        For each layer with weights, in the order of the model.

    Raises
    ------
    ModelError
        If a convolution is of a kind that is not known here, or inside another layer.
    """
    layers = [layer for layer in model.layers if layer.weights]
    plain = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
    turned = []
    for layer, (name, arrays) in zip(layers, values, strict=False):
        if type(layer) in plain:
            positions = tuple(range(arrays[0].ndim - 2))
            arrays = [np.flip(arrays[0], positions), *arrays[1:]]
        elif "Conv" in type(layer).__name__ or any("Conv" in type(x).__name__ for x in _inside(layer)):
            raise ModelError(
                f"layer {layer.name!r} ({type(layer).__name__}) was trained on Theano, which turned the "
                "kernels of convolutions around; this is known for Conv1D, Conv2D and Conv3D only. Load and "
                "save the model with Keras 2 on TensorFlow"
            )
        turned.append((name, arrays))
    return turned + values[len(turned) :]


def _inside(layer: Any) -> list[Any]:
    return [part for part in layer._flatten_layers(include_self=False)]
