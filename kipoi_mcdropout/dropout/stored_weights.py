"""Weights in a file that memory mirrors, so that those of a network that does not run can leave memory.

The tensors of a network stay as they are, and can be read and written at any time: the operating system
reads what is not in memory. Nothing depends on when a network was let go.
"""

from __future__ import annotations

import mmap
import tempfile
import weakref

import torch
from torch import Tensor, nn

_PLAIN = (Tensor, nn.Parameter, getattr(nn, "Buffer", nn.Parameter))
_ALIGNED = 64  # bytes, as torch lays out memory; some kernels round differently elsewhere

_mirrors: weakref.WeakKeyDictionary[nn.Module, mmap.mmap] = weakref.WeakKeyDictionary()


def tensors_by_name(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers; each under all of its names."""
    return {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }


def weights_bytes(module: nn.Module) -> int:
    """Memory of the parameters and buffers."""
    return sum(x.numel() * x.element_size() for x in _tensors(module))


def store_weights(module: nn.Module) -> bool:
    """Move the weights of a network into a temporary file that memory mirrors.

    The file has no name, and is gone with the process.

    Returns
    -------
    bool
        Whether it was done. It is not done for weights on a GPU, in TorchScript, and for tensors that
        are not plain (sparse, quantized).

    Raises
    ------
    OSError
        If the file cannot be written; the weights are as they were.
    """
    tensors = _tensors(module)
    if module in _mirrors or not tensors or not all(map(_is_plain, tensors)):
        return module in _mirrors
    if any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
        return False
    old = {x.untyped_storage()._cdata: x.untyped_storage() for x in tensors}
    old = {key: storage for key, storage in old.items() if storage.nbytes()}
    if not old:
        return False
    mirror, places = _written(old)
    new = {
        key: torch.frombuffer(
            mirror, dtype=torch.uint8, count=storage.nbytes(), offset=places[key]
        ).untyped_storage()
        for key, storage in old.items()
    }
    for x in tensors:
        storage = new.get(x.untyped_storage()._cdata)
        if storage is not None:
            like = torch.empty(0, dtype=x.dtype)
            x.data = like.set_(storage, x.storage_offset(), x.shape, x.stride())
    _mirrors[module] = mirror
    let_go(module)
    return True


def is_stored(module: nn.Module) -> bool:
    """Whether the weights of a network are in a file."""
    return module in _mirrors


def let_go(module: nn.Module) -> None:
    """Let stored weights leave memory until they are used again; nothing for all other networks."""
    mirror = _mirrors.get(module)
    if mirror is not None and hasattr(mmap, "MADV_DONTNEED"):
        mirror.madvise(mmap.MADV_DONTNEED)


def _tensors(module: nn.Module) -> list[Tensor]:
    """Each once."""
    return list({id(x): x for x in tensors_by_name(module).values()}.values())


def _is_plain(x: Tensor) -> bool:
    lazy = nn.parameter.is_lazy(x)
    return type(x) in _PLAIN and not lazy and x.device.type == "cpu" and x.layout == torch.strided


def _written(storages: dict[int, torch.UntypedStorage]) -> tuple[mmap.mmap, dict[int, int]]:
    """A file with the bytes of all storages, as memory, and where each begins."""
    places: dict[int, int] = {}
    end = 0
    with tempfile.TemporaryFile(prefix="kipoi_mcdropout_weights_") as file:
        for key, storage in storages.items():
            places[key] = -(-end // _ALIGNED) * _ALIGNED
            file.seek(places[key])
            file.write(torch.empty(0, dtype=torch.uint8).set_(storage).numpy().data)
            end = places[key] + storage.nbytes()
        file.flush()
        return mmap.mmap(file.fileno(), end), places
