"""A pretended accelerator: its tensors hold nothing, so whatever waits for them is found out.

On an accelerator the host runs ahead of the device. What needs a *value* on the host (``float``,
``bool``, ``nonzero``, a mask as an index) or carries one over (``torch.tensor(…, device=…)`` copies
from pageable memory) makes it wait; ``torch.cuda.set_sync_debug_mode("error")`` refuses both. Here
a model's tensors are moved to torch's ``meta`` device and a dispatch mode refuses the same, and
tensors of both devices in one operation, which no accelerator takes either.
"""

import io
import pickle

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DEVICE = torch.device("meta")
_aten = torch.ops.aten
WAITING = {
    _aten._local_scalar_dense,
    _aten.equal,
    _aten.is_nonzero,
    _aten.masked_select,
    _aten.nonzero,
    _aten.unique_consecutive,
    _aten.unique_dim,
    _aten._unique2,
    _aten.bincount,
    _aten.histc,
}
MASKED = {_aten.index, _aten.index_put, _aten.index_put_, _aten._index_put_impl_}
COPYING = {_aten._to_copy, _aten.copy_, _aten._copy_from}


class SynchronisationError(RuntimeError):
    """Something made the host wait for the device."""


class _NoCopies(TorchFunctionMode):
    """Refuses tensors made of Python's numbers: below, torch does not show how they get there."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in ("tensor", "as_tensor", "asarray", "new_tensor", "scalar_tensor"):
            given = args[1] if name == "new_tensor" else (args[0] if args else None)
            if made.device == DEVICE and not isinstance(given, torch.Tensor):
                raise SynchronisationError(f"torch.{name}(…, device=…) copies from the host")
        return made


class NoSynchronisation(TorchDispatchMode):
    """Refuses what makes the host wait for `DEVICE`, or mixes it with the host's tensors."""

    def __enter__(self):
        self._copies = _NoCopies()
        self._copies.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._copies.__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        here = [t for t in given if t.device != DEVICE]
        there = [t for t in given if t.device == DEVICE]
        packet = func.overloadpacket
        wanted = kwargs.get("device")
        wanted = None if wanted is None else torch.device(wanted)
        if there and packet in WAITING:
            raise SynchronisationError(f"{func} reads a value on the host")
        if there and func is _aten.repeat_interleave.Tensor and kwargs.get("output_size") is None:
            raise SynchronisationError(f"{func} looks at the counts")
        if there and packet in MASKED:
            masks = [i for i in args[1] if i is not None and i.dtype == torch.bool]
            if masks:
                raise SynchronisationError(f"{func} with a mask counts what it selects")
        copies = packet in COPYING and not kwargs.get("non_blocking")
        if copies and here and (there or wanted == DEVICE):
            raise SynchronisationError(f"{func} copies from the host to the device")
        if copies and there and wanted is not None and wanted != DEVICE:
            raise SynchronisationError(f"{func} copies from the device to the host")
        if there and any(t.dim() for t in here):
            raise SynchronisationError(f"{func} mixes devices")
        return func(*args, **kwargs)


class _Giving(pickle.Pickler):
    """Pickles all but tensors."""

    def __init__(self, file):
        super().__init__(file)
        self.tensors, self._places = [], {}

    def persistent_id(self, obj):
        if not isinstance(obj, torch.Tensor):
            return None
        if id(obj) not in self._places:
            self._places[id(obj)] = len(self.tensors)
            self.tensors.append(obj)
        return self._places[id(obj)]


class _Taking(pickle.Unpickler):
    """Unpickles with tensors on the accelerator in the place of those given."""

    def __init__(self, file, tensors):
        super().__init__(file)
        self._moved = [moved(tensor) for tensor in tensors]

    def persistent_load(self, pid):
        return self._moved[pid]


def moved(tensor):
    """Return a tensor as it would be on the accelerator."""
    new = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=DEVICE)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(new, requires_grad=tensor.requires_grad)
    return new.requires_grad_(tensor.requires_grad)


def on_accelerator(model):
    """Return a copy of a model whose tensors, all that it keeps ready too, are over there."""
    file = io.BytesIO()
    giving = _Giving(file)
    giving.dump(model)
    file.seek(0)
    return _Taking(file, giving.tensors).load()
