"""How many samples inputs are: a sequence is one, wherever its time runs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from mho.model.lifecycle import collapse
from mho.model.sizes import on_meta
from mho.nn.base import AnalogLayer


class Samples:
    """Counts the samples of batches while a model works on them, as a context.

    Packed sequences say how many they are. A tensor's samples are its first dimension, unless a
    layer that takes it says otherwise: ``batch_first=False`` (recurrent layers, attention) makes it
    the second, and what has no batch dimension is one sample. A layer of ``batch_first=False``
    further inside says so too, where what reaches it still has the first two dimensions of the
    batch (embeddings, projections and norms keep them; who turned them round did not).

    Args:
        model: that is to work on them.
        batches: as `mho.model.observe.batches_of` returns them.

    Attributes:
        count: samples of all batches.
    """

    def __init__(self, model: nn.Module, batches: list[Any]) -> None:
        self._batches = batches
        self._model = model
        self._told: dict[int, int] = {}  # samples by the identity of a batch
        self._handles: list[Any] = []

    def __enter__(self) -> Samples:
        known = {id(_leading(batch)) for batch in self._batches}
        entered: list[Any] = [None]  # the batch at work

        def enter(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            given = (*args, *named.values())
            entered[0] = next((value for value in given if id(value) in known), None)

        def look(layer: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            # Of attention the query alone: keys and values may be something else.
            first = args[0] if args else next(iter(named.values()), None)
            batch = entered[0]
            if id(first) in known and isinstance(first, Tensor):
                found = _told(layer, first)
                if found is not None:
                    self._told[id(first)] = found
            elif isinstance(batch, Tensor) and _time_first(layer, first, batch):
                self._told.setdefault(id(batch), batch.shape[1])

        self._handles.append(self._model.register_forward_pre_hook(enter, with_kwargs=True))

        for module in self._model.modules():
            if _looks(module):
                handle = module.register_forward_pre_hook(look, with_kwargs=True)
                self._handles.append(handle)
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    @property
    def count(self) -> int:
        """Samples of all batches."""
        return sum(self._samples(_leading(batch)) for batch in self._batches)

    def _samples(self, batch: Any) -> int:
        if isinstance(batch, PackedSequence):
            return int(batch.batch_sizes[0])
        return self._told.get(id(batch), len(batch))


def _looks(layer: nn.Module) -> bool:
    """Whether a layer's way of taking inputs may tell their samples."""
    if _batch_first(layer) is not None or isinstance(layer, (AnalogLayer, nn.Linear)):
        return True
    return isinstance(getattr(layer, "kernel_size", None), tuple)


def _told(layer: nn.Module, x: Tensor) -> int | None:
    """Return the samples that a layer's own way of taking inputs tells; None: nothing unusual."""
    batch_first = _batch_first(layer)
    if batch_first is not None:
        return 1 if x.dim() <= 2 else None if batch_first else x.shape[1]
    window = getattr(layer, "kernel_size", None)
    if isinstance(window, tuple):
        return 1 if x.dim() == len(window) + 1 else None
    return 1 if x.dim() == 1 and x.is_floating_point() else None


def _time_first(layer: nn.Module, x: Any, batch: Tensor) -> bool:
    """Whether a layer inside a model tells that the model's inputs have time first."""
    if _batch_first(layer) is not False or batch.dim() < 2:
        return False
    steps, samples = batch.shape[:2]
    if isinstance(x, PackedSequence):  # of sequences that are not longer than the batch
        told = len(x.batch_sizes), int(x.batch_sizes[0])
        return told[1] == samples != steps and told[0] <= steps
    return isinstance(x, Tensor) and x.dim() == 3 and x.shape[:2] == batch.shape[:2]


def time_first(layer: nn.Module) -> bool:
    """Whether a layer takes time as the first dimension."""
    return _batch_first(layer) is False


def _batch_first(layer: nn.Module) -> bool | None:
    # A transformer's layer may normalise first: then its attention does not see the inputs.
    owner = layer if hasattr(layer, "batch_first") else getattr(layer, "self_attn", None)
    return getattr(owner, "batch_first", None)


def samples_of(model: nn.Module, x: Tensor) -> int:
    """Return how many samples a tensor is to a model, which works once where layers might differ.

    Args:
        model: any; it is not changed. On the meta device where it can work there.
        x: what it is called with.
    """
    if not any(_looks(module) and _told(module, x) is not None for module in model.modules()):
        return len(x)
    torch_model = collapse(model) if _converted(model) else model
    try:
        return _counted(on_meta(torch_model), x.to("meta"))
    except Exception:  # what looks at values cannot work without any
        return _counted(copy.deepcopy(torch_model), x)


def _converted(model: nn.Module) -> bool:
    return any(isinstance(module, AnalogLayer) for module in model.modules())


@torch.no_grad()
def _counted(model: nn.Module, x: Tensor) -> int:
    with Samples(model, [x]) as counter:
        model.eval()(x)
    return counter.count


def _leading(batch: Any) -> Any:
    return next(iter(batch.values())) if isinstance(batch, Mapping) else batch
