"""How many bytes of tensors live at once: counted, not measured, so always the same."""

import gc
import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Counting(TorchDispatchMode):
    """Counts the storages that operations make, until they are freed."""

    def __init__(self):
        super().__init__()
        self.now = self.most = 0
        self.known = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = {
            t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if torch.is_tensor(t)
        }
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if torch.is_tensor(tensor):
                self._note(tensor.untyped_storage(), given)
        return found

    def _note(self, storage, given):
        key = storage._cdata
        if key in self.known or key in given:
            return
        self.known.add(key)
        size = storage.nbytes()
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._freed, key, size)

    def _freed(self, key, size):
        self.known.discard(key)
        self.now -= size


def peak(work):
    """Return the most bytes that tensors made by ``work()`` take at once, and what it returns."""
    gc.collect()
    with _Counting() as counting:
        found = work()
    return counting.most, found
