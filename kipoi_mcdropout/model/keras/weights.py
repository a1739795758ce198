"""Weights of Keras's older HDF5 layout: for each layer a list of arrays, in the order of the layers."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from kipoi_mcdropout.errors import ModelError

LayerWeights = list[tuple[str, list[np.ndarray]]]  # name and arrays of each layer that has any


def layer_weights(group: h5py.Group) -> LayerWeights | None:
    """The arrays of each layer; None if the group has another layout."""
    layers: LayerWeights = []
    names = _names(group, "layer_names")
    if names is None:
        return None
    for name in names:
        layer = group[name]
        arrays = [np.asarray(layer[weight]) for weight in _names(layer, "weight_names") or ()]
        if arrays:
            layers.append((name, arrays))
    return layers


def set_layer_weights(model: Any, values: LayerWeights, file: str, theano: Any = None) -> None:
    """Give each layer its arrays, by order, after a check of all shapes.

    Parameters
    ----------
    model : keras.Model
    values : list of (str, list of arrays)
    file : str
        For messages.
    theano : module, optional
        Keras itself, if the weights are of Theano: it convolved, TensorFlow and torch correlate. In the
        one w[k] multiplies x[t - k], in the others x[t + k]. Keras 2 turned the kernels around when it
        loaded weights of the other kind; Keras 3 does not.

    Raises
    ------
    ModelError
        If number or shapes differ, or a convolution of Theano is of a kind that is not known.
    """
    layers = [(layer, _in_order(layer)) for layer in model.layers if layer.weights]
    if len(layers) != len(values):
        raise ModelError(
            f"the architecture has {len(layers)} layers with weights, {file} has {len(values)}"
        )
    for (layer, weights), (name, arrays) in zip(layers, values, strict=True):
        required, came = [tuple(weight.shape) for weight in weights], [array.shape for array in arrays]
        if required != came:
            raise ModelError(
                f"layer {layer.name!r} has weights of shapes {required}; {file} has {came}, under "
                f"{name!r}"
            )
    for (layer, weights), (_, arrays) in zip(layers, values, strict=True):
        given = arrays if theano is None else _turned(layer, arrays, theano)
        for weight, array in zip(weights, given, strict=True):
            weight.assign(array)


def _in_order(layer: Any) -> list[Any]:
    """Weights in the order of the file: those that are trained, then the others."""
    trained = [weight for weight in layer.weights if weight.trainable]
    return trained + [weight for weight in layer.weights if not weight.trainable]


def _turned(layer: Any, arrays: list[np.ndarray], keras: Any) -> list[np.ndarray]:
    """The kernel of a convolution turned around along its positions."""
    if type(layer) in (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D):
        positions = tuple(range(arrays[0].ndim - 2))
        return [np.flip(arrays[0], positions), *arrays[1:]]
    if any("Conv" in type(part).__name__ for part in layer._flatten_layers()):
        raise ModelError(
            f"layer {layer.name!r} ({type(layer).__name__}) was trained on Theano, which turned the "
            "kernels of convolutions around; it is known how for Conv1D, Conv2D and Conv3D only. Load "
            "the model with Keras 2 on TensorFlow, and save it again"
        )
    return arrays


def _names(group: h5py.Group, attribute: str) -> list[str] | None:
    """A list of names, None if there is none; a long one is cut into several attributes."""
    keys, i = [attribute] if attribute in group.attrs else [], 0
    while keys[:1] != [attribute] and f"{attribute}{i}" in group.attrs:
        keys.append(f"{attribute}{i}")
        i += 1
    if not keys:
        return None
    names = [name for key in keys for name in group.attrs[key]]
    return [name.decode("utf-8") if isinstance(name, bytes) else str(name) for name in names]
