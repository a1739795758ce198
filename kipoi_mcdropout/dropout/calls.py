"""Turns every kind of dropout in a PyTorch forward pass into one function call.

A `torch.overrides.TorchFunctionMode` sees each torch function that the model calls, whether a module
or plain code calls it and whatever the model's training flag says; nothing in the model is changed.
`DropoutInterceptor` turns dropout calls of every kind (element-wise, by channel, alpha, inside
attention, between the layers of an RNN), and random numbers that the model makes itself
(random_numbers.py), into calls of `drop(call)`, which a subclass defines: to record them (sites.py) or
to apply a locked mask (locked_model.py).
"""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from kipoi_mcdropout.dropout.call import DropoutCall
from kipoi_mcdropout.dropout.random_numbers import RandomNumbers
from kipoi_mcdropout.errors import UnlockableDropoutError


class DropoutInterceptor(TorchFunctionMode):
    """Within this context every dropout of the model goes through `drop`."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = RandomNumbers(self)

    def drop(self, call: DropoutCall) -> Tensor:
        """Return the result of one dropout call; a subclass says what that is."""
        raise NotImplementedError

    def random_call(self, what: str) -> None:
        """Take note of random numbers of torch that cannot be locked, e.g. "torch's randperm"."""

    def no_mean(self, what: str) -> None:
        """Take note of random numbers from which the model's code makes something of unknown mean."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        handler = _HANDLERS.get(func)
        if handler is not None:
            return handler(self, func, args, kwargs or {})
        return self._numbers.call(func, args, kwargs or {})


_Handler = Callable[[DropoutInterceptor, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


def _simple_dropout(kind: str, by_channel: bool = False, alpha: bool = False) -> _Handler:
    """Handler of a function with the arguments (input, p, training, inplace)."""

    def handle(
        mode: DropoutInterceptor, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor:
        x: Tensor = args[0] if args else kwargs["input"]
        p = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
        in_place = args[3] if len(args) > 3 else kwargs.get("inplace", False)
        if p == 0:
            return x
        dropped = mode.drop(DropoutCall(kind, float(p), x, by_channel, alpha))
        if in_place or func.__name__.endswith("_"):
            return x.copy_(dropped)
        return dropped

    return handle


def _attention(mode: DropoutInterceptor, func: Any, args: Any, kwargs: Any) -> Tensor:
    """Scaled dot product attention with dropout written out, by the formula of its documentation."""
    bound = inspect.signature(_sdpa_signature).bind(*args, **kwargs)
    bound.apply_defaults()
    a = bound.arguments
    if a["dropout_p"] == 0:
        undropped: Tensor = func(*args, **kwargs)
        return undropped
    query, key, value = a["query"], a["key"], a["value"]
    if a["enable_gqa"]:
        key = key.repeat_interleave(query.size(-3) // key.size(-3), -3)
        value = value.repeat_interleave(query.size(-3) // value.size(-3), -3)
    scale = 1.0 / math.sqrt(query.size(-1)) if a["scale"] is None else a["scale"]
    logits = query @ key.transpose(-2, -1) * scale
    mask = a["attn_mask"]
    if a["is_causal"]:
        mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
    if mask is not None and mask.dtype == torch.bool:
        logits = logits.masked_fill(~mask, -math.inf)
    elif mask is not None:
        logits = logits + mask
    weights: Tensor = torch.softmax(logits, dim=-1)
    if mask is not None:  # torch gives 0, not NaN, where a position may attend to nothing
        weights = weights.masked_fill((logits == -math.inf).all(dim=-1, keepdim=True), 0.0)
    attended: Tensor = mode.drop(DropoutCall("attention", float(a["dropout_p"]), weights)) @ value
    return attended


def _sdpa_signature(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> None:
    """Arguments of F.scaled_dot_product_attention, a builtin without a signature of its own."""


def _multi_head_attention(mode: DropoutInterceptor, func: Any, args: Any, kwargs: Any) -> Any:
    """Run torch's own multi-head attention with the dropouts inside it intercepted.

    Its body cannot be entered with the mode on (it would dispatch to the mode again for ever), so it
    runs from its own code with the three names it looks up replaced by ours.
    """
    bound = inspect.signature(F.multi_head_attention_forward).bind(*args, **kwargs)
    bound.apply_defaults()
    p, heads = float(bound.arguments["dropout_p"]), int(bound.arguments["num_heads"])
    if p == 0:
        return func(*args, **kwargs)
    bound.arguments["training"] = True  # in eval mode the body would set dropout_p to 0

    def drop_weights(weights: Tensor, p: float, **_: Any) -> Tensor:
        return mode.drop(DropoutCall("attention", float(p), weights, rows_per_input=heads))

    def attend(*a: Any, **k: Any) -> Tensor:
        return _attention(mode, F.scaled_dot_product_attention, a, k)

    names = {
        **vars(F),
        "has_torch_function": lambda _: False,
        "dropout": drop_weights,
        "scaled_dot_product_attention": attend,
    }
    body = F.multi_head_attention_forward
    rebound = types.FunctionType(body.__code__, names, body.__name__, body.__defaults__)
    rebound.__kwdefaults__ = body.__kwdefaults__
    return rebound(*bound.args, **bound.kwargs)


def _recurrent(kind: str) -> _Handler:
    """Handler of torch.lstm, gru, rnn_tanh, rnn_relu: dropout lies between stacked layers.

    The fused kernel keeps its masks to itself, so the layers are run one by one.
    """

    def handle(
        mode: DropoutInterceptor, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if kwargs or len(args) != 9:
            raise UnlockableDropoutError(
                f"torch.{kind} called with unexpected arguments; call it as nn.{kind.upper()} does"
            )
        packed = isinstance(args[3], (list, tuple))  # (data, batch_sizes, hx, weights, ...)
        p, layers = (float(args[6]), args[5]) if packed else (float(args[5]), args[4])
        if p == 0 or layers == 1:
            return func(*args)
        if packed:
            raise UnlockableDropoutError(
                f"dropout between the layers of an nn.{kind.split('_')[0].upper()} cannot be locked "
                "for packed sequences; give the model padded sequences, or set the layer's dropout to 0"
            )
        x, hx, weights, biases, _, _, _, bidirectional, batch_first = args
        states = hx if isinstance(hx, (tuple, list)) else (hx,)
        directions = 2 if bidirectional else 1
        per_layer = len(weights) // layers
        finals = []
        for layer in range(layers):
            if layer > 0:
                x = mode.drop(DropoutCall(kind, p, x))
            rows = slice(layer * directions, (layer + 1) * directions)
            state = [s[rows].contiguous() for s in states]
            part = weights[layer * per_layer : (layer + 1) * per_layer]
            x, *final = func(
                x, state if kind == "lstm" else state[0], part, biases, 1, 0.0, False,
                bidirectional, batch_first,
            )  # fmt: skip
            finals.append(final)
        return (x, *(torch.cat(parts, dim=0) for parts in zip(*finals, strict=True)))

    return handle


def _native_dropout(_mode: DropoutInterceptor, _func: Any, _args: Any, _kwargs: Any) -> Any:
    raise UnlockableDropoutError(
        "torch.native_dropout makes its own mask and cannot be locked; call F.dropout instead"
    )


_HANDLERS: dict[Any, _Handler] = {
    F.dropout: _simple_dropout("dropout"),
    torch.dropout: _simple_dropout("dropout"),
    torch.dropout_: _simple_dropout("dropout"),
    torch.ops.aten.dropout: _simple_dropout("dropout"),
    torch.ops.aten.dropout.default: _simple_dropout("dropout"),
    torch.ops.aten.dropout_: _simple_dropout("dropout"),
    torch.ops.aten.dropout_.default: _simple_dropout("dropout"),
    F.dropout1d: _simple_dropout("dropout1d", by_channel=True),
    F.dropout2d: _simple_dropout("dropout2d", by_channel=True),
    F.dropout3d: _simple_dropout("dropout3d", by_channel=True),
    torch.feature_dropout: _simple_dropout("feature_dropout", by_channel=True),
    torch.feature_dropout_: _simple_dropout("feature_dropout", by_channel=True),
    F.alpha_dropout: _simple_dropout("alpha_dropout", alpha=True),
    torch.alpha_dropout: _simple_dropout("alpha_dropout", alpha=True),
    torch.alpha_dropout_: _simple_dropout("alpha_dropout", alpha=True),
    F.feature_alpha_dropout: _simple_dropout("feature_alpha_dropout", by_channel=True, alpha=True),
    torch.feature_alpha_dropout: _simple_dropout("feature_alpha_dropout", by_channel=True, alpha=True),
    torch.feature_alpha_dropout_: _simple_dropout("feature_alpha_dropout", by_channel=True, alpha=True),
    torch.native_dropout: _native_dropout,
    torch.ops.aten.native_dropout: _native_dropout,
    torch.ops.aten.native_dropout.default: _native_dropout,
    F.scaled_dot_product_attention: _attention,
    F.multi_head_attention_forward: _multi_head_attention,
    torch.lstm: _recurrent("lstm"),
    torch.gru: _recurrent("gru"),
    torch.rnn_tanh: _recurrent("rnn_tanh"),
    torch.rnn_relu: _recurrent("rnn_relu"),
}
