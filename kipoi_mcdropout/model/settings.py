"""What is said of a model beside the model itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from kipoi_mcdropout.dropout.autocast import check_dtype
from kipoi_mcdropout.dropout.device import check_device
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.sequence_model import Unknown
from kipoi_mcdropout.outputs.labels import unique_names
from kipoi_mcdropout.outputs.readout import Readout
from kipoi_mcdropout.sequence.one_hot import check_alphabet
from kipoi_mcdropout.sequence.vocabulary import Vocabulary


@dataclass(frozen=True)
class ModelSettings:
    """What is said of a model beside the model itself; see `Model`."""

    outputs: tuple[str, ...] | None = None
    input_shape: tuple[int | None, ...] | None = None
    length: int | None = None
    model_input: str | int | None = None
    category_axis: int | None = None
    alphabet: str | None = None
    unknown: Unknown | None = None
    label_axis: int | None = None
    ignore: tuple[str, ...] = ()
    vocabulary: Vocabulary | None = None
    extra_inputs: Mapping[str, Any] | None = None
    readout: Readout | None = None
    dtype: str = "float32"
    device: str | None = None  # None: where the model's weights are
    allow_tf32: bool = False

    def __post_init__(self) -> None:
        check_dtype(self.dtype)
        if self.device is not None:
            check_device(self.device)
        if self.outputs is not None:
            _check_outputs(self.outputs)
            object.__setattr__(self, "outputs", unique_names(self.outputs))
        if self.unknown not in (None, "uniform", "zero"):
            raise InputError(f'unknown must be "uniform" or "zero"; got {self.unknown!r}')
        shape, least = self.input_shape, 2 if self.vocabulary is None else 1
        if shape is not None and (len(shape) < least or any(n is not None and n < 1 for n in shape)):
            raise InputError(
                "input_shape must be the shape of one input without the batch, such as (4, 500), or "
                f"(502,) for tokens with a vocabulary; got {shape}"
            )
        if self.vocabulary is not None:
            _check_no_one_hot(self)
        if self.extra_inputs is not None and not isinstance(self.extra_inputs, Mapping):
            raise InputError(
                "extra_inputs must be a dict of the values of inputs, such as {'organism': 0}; got "
                f"{self.extra_inputs!r}"
            )
        if self.alphabet is not None:
            object.__setattr__(self, "alphabet", check_alphabet(self.alphabet))


def settings_as_dict(settings: ModelSettings) -> dict[str, Any]:
    """Those settings that are not the default, as plain values."""
    return {
        field.name: _plain(value)
        for field in fields(settings)
        if (value := getattr(settings, field.name)) != field.default
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Vocabulary):
        return str(value)
    if isinstance(value, Readout):
        return value.to_dict()
    return list(value) if isinstance(value, tuple) else value


def _check_no_one_hot(settings: ModelSettings) -> None:
    """Refuse what is said of one-hot inputs beside a vocabulary."""
    for name in ("category_axis", "alphabet", "unknown"):
        if (value := getattr(settings, name)) is not None:
            raise InputError(
                f"{name} is for one-hot inputs, and vocabulary for tokens; give one of them. Got "
                f"{name}={value!r} and the vocabulary {settings.vocabulary}"
            )


def _check_outputs(names: tuple[Any, ...]) -> None:
    wrong = [name for name in names if not isinstance(name, str) or not name]
    if wrong:
        raise InputError(f"outputs must be names, texts that are not empty; got {wrong[0]!r}")
