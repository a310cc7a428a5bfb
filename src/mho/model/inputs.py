"""What models are given: sample inputs in all usual forms become tensors that suit the model.

One place takes in the data of everything that runs a model: arrays, lists, tables, tensors,
datasets and loaders. Numbers take the model's dtype and go where its parameters are. Whole numbers
do so too, unless the model looks something up (an embedding), or they are a tensor of int32 or
int64: who made one of those wants indices.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import DataLoader, Dataset

from mho.core import checks, intake, memory
from mho.core.text import size

_BATCH = 256  # samples of a dataset that are one batch

_LOOKUPS = (nn.Embedding, nn.EmbeddingBag)


@dataclass(frozen=True)
class Suiting:
    """What numbers are to be like, so that a model takes them.

    Attributes:
        kinds: floating dtypes of the parameters, the commonest first; none: any will do.
        device: where all parameters are; None: in several places, nowhere, or on no device.
        indices: whether whole numbers stay what they are.
    """

    kinds: tuple[torch.dtype, ...] = ()
    device: torch.device | None = None
    indices: bool = True

    @classmethod
    def of(cls, model: nn.Module | None) -> Suiting:
        """Look at a model; None suits all."""
        if model is None:
            return cls()
        counts: dict[torch.dtype, int] = {}
        devices = set()
        for parameter in model.parameters():
            devices.add(parameter.device)
            if parameter.is_floating_point():
                size = 0 if isinstance(parameter, nn.UninitializedParameter) else parameter.numel()
                counts[parameter.dtype] = counts.get(parameter.dtype, 0) + size
        only = devices.pop() if len(devices) == 1 else None
        looks_up = any(
            isinstance(module, _LOOKUPS) or hasattr(module, "num_embeddings")
            for module in model.modules()
        )
        return cls(
            tuple(sorted(counts, key=lambda kind: -counts[kind])),
            None if only is None or only.type == "meta" else only,
            looks_up,
        )

    def given(self, name: str, value: Any) -> Tensor:
        """Return numbers in any form as the tensor that the model is to be given."""
        found = intake.tensor(name, value)
        explicit = isinstance(value, Tensor) and found.dtype in (torch.int32, torch.int64)
        return self._suited(found, whole=self.indices or explicit)

    def wanted(self, name: str, value: Any) -> Tensor:
        """Return targets in any form as a tensor: real ones of the model's dtype, labels int64."""
        found = self._suited(intake.tensor(name, value), whole=True)
        small = found.dtype in (torch.uint8, torch.int8, torch.int16, torch.int32)
        return found.long() if small else found

    def _suited(self, x: Tensor, *, whole: bool) -> Tensor:
        if self.kinds and not x.is_complex():
            real = x.is_floating_point()
            if (real and x.dtype not in self.kinds) or (not real and not whole):
                x = x.to(self.kinds[0])
        if self.device is None or x.is_meta:
            return x
        return x.to(self.device)


def batches_of(inputs: Any, model: nn.Module | None = None) -> list[Any]:
    """Return sample inputs as a list of batches.

    Args:
        inputs: one batch (a tensor, an array, a table, a list of rows of numbers, or a mapping of
            keyword arguments); an iterable of batches (a DataLoader, a list); or a Dataset of
            samples. Of a batch with targets, a tuple or list, the first item is the input; so is
            it of one such pair.
        model: that is to be given them: numbers take its dtype and device; None leaves them.

    Raises:
        TypeError: if inputs are of another kind, or hold no numbers.
        ValueError: if there are none, or some are not finite.
    """
    like = Suiting.of(model)
    batches = [_suited(batch, like) for batch in _batches(inputs)]
    tensors = [t for batch in batches for t in _tensors(batch)]
    if not any(isinstance(t, Tensor) and t.numel() for t in tensors):
        raise ValueError("inputs must hold at least one sample, got none")
    for tensor in tensors:
        if isinstance(tensor, Tensor) and tensor.is_floating_point():
            checks.finite("inputs", tensor)
    return batches


def call_of(inputs: Any, model: nn.Module | None = None) -> Any:
    """Return the arguments of one call of a model; None is none.

    Args:
        inputs: a tensor or numbers in another form (as `batches_of` takes them); a tuple or list
            of arguments; a mapping of keyword arguments; or batches of these, of which the first
            counts. Tensors may be on the meta device.
        model: that is to be called; None leaves numbers as they are.

    Raises:
        TypeError: if inputs are of another kind, or hold no numbers.
    """
    if inputs is None:
        return None
    if not _may_be_inputs(inputs):
        raise TypeError(
            "inputs must be those of one call: a tensor, an array, a table, a tuple of arguments, "
            "a mapping of keyword arguments, or batches of these, got "
            f"{checks.said(inputs)}"
        )
    like = Suiting.of(model)
    if _is_pair(inputs) and model is not None and _takes_one(model):
        inputs = inputs[0]
    elif isinstance(inputs, tuple | list) and not intake.is_numbers(inputs):
        listed = isinstance(inputs, list) and len(inputs) > 0 and _is_batch(inputs[0])
        inputs = _first(inputs[0]) if listed else inputs
    elif not (_is_one_batch(inputs) or isinstance(inputs, PackedSequence)):
        inputs = _first(next(iter(_loaded(inputs)), ()))
    if isinstance(inputs, tuple | list) and not _is_one_batch(inputs):
        return tuple(_suited(value, like) for value in inputs)
    return _suited(inputs, like)


def pair_of(name: str, data: Any, model: nn.Module | None = None) -> tuple[Tensor, Tensor]:
    """Return inputs and targets, all of them at once.

    Args:
        name: of the argument, for errors.
        data: a pair of numbers in any form (as `batches_of` takes them), or a Dataset or loader of
            such pairs.
        model: that is to be given them; None leaves numbers as they are.

    Raises:
        TypeError: if data are of another kind.
        ValueError: if inputs and targets are not as many, or there are none.
    """
    like = Suiting.of(model)
    rows = isinstance(data, list) and intake.is_numbers(data)
    if isinstance(data, tuple | list) and len(data) == 2 and not rows:
        pairs = [tuple(data)]
    elif isinstance(data, Dataset | DataLoader):
        pairs = list(gathered(name, _loaded(data)))
    else:
        raise TypeError(
            f"{name} must be inputs and targets: a pair of arrays or tensors, a Dataset or a "
            f"DataLoader of pairs, got {_kind(data)}"
        )
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"{name} must hold pairs of inputs and targets, got {_kind(pair)}")
    inputs = [like.given(f"inputs of {name}", pair[0]) for pair in pairs]
    targets = [like.wanted(f"targets of {name}", pair[1]) for pair in pairs]
    counts = [sum(len(part) if part.dim() else 0 for part in parts) for parts in (inputs, targets)]
    if counts[0] != counts[1] or not counts[0]:
        raise ValueError(
            f"{name} must hold equally many inputs and targets, one at least, got "
            f"{counts[0]} and {counts[1]}"
        )
    return _joined(inputs), _joined(targets)


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


# ── forms ────────────────────────────────────────────────────────────────────────────────────


def _batches(inputs: Any) -> Iterable[Any]:
    if not _may_be_inputs(inputs):
        raise TypeError(
            "inputs must be a batch (a tensor, an array, a table, a list of rows of numbers, or a "
            "mapping of keyword arguments) or an iterable of batches (a DataLoader, a list) or a "
            f"Dataset, got {type(inputs).__name__}"
        )
    if _is_pair(inputs):
        return [inputs[0]]
    if _is_one_batch(inputs) or isinstance(inputs, PackedSequence):
        return [inputs]
    return [_first(batch) for batch in gathered("inputs", _loaded(inputs))]


_MOST = 1_000_000  # batches


def gathered(name: str, batches: Iterable[Any]) -> Iterator[Any]:
    """Yield batches; refuse more than memory keeps (ValueError): loaders may be endless.

    Half of what is left may be held: for another dtype, or as one, batches are copied. A list ends,
    and what is in it takes no more memory.
    """
    if isinstance(batches, tuple | list):
        yield from batches
        return
    most, held, known = memory.left("cpu") / 2, 0, set()
    for number, batch in enumerate(batches):
        for tensor in batch if isinstance(batch, tuple | list) else _tensors(batch):
            if isinstance(tensor, Tensor) and tensor.is_cpu and id(tensor) not in known:
                known.add(id(tensor))
                held += tensor.nbytes
        if number >= _MOST or held > most:
            raise ValueError(
                f"{name} do not end, or are more than memory keeps: {number} batches of "
                f"{size(held)} are held, and at most {_MOST} or {size(most)} can be; give a part, "
                "by itertools.islice(…, 100)"
            )
        yield batch


def _may_be_inputs(inputs: Any) -> bool:
    """Whether something is no text and no single number, and can be gone through."""
    if isinstance(inputs, str | bytes | type | nn.Module) or intake.is_number(inputs):
        return False
    return isinstance(inputs, Iterable | Dataset) or intake.is_array(inputs)


def _is_one_batch(inputs: Any) -> bool:
    known = isinstance(inputs, Tensor | Mapping) or intake.is_array(inputs)
    return known or intake.is_numbers(inputs)


def _is_batch(value: Any) -> bool:
    """Whether an item of a list is a batch of its own, and not an argument."""
    return isinstance(value, Mapping | tuple | list) and not intake.is_numbers(value)


def _is_pair(inputs: Any) -> bool:
    """Whether a tuple or list of two is inputs and their targets, not two batches of inputs.

    Two batches are alike; inputs and targets are as many and differ: in dimensions, in whether
    they are whole numbers, or in that the targets are one real number each.
    """
    if not isinstance(inputs, tuple | list) or len(inputs) != 2:
        return False
    rows = isinstance(inputs, tuple) and all(isinstance(v, tuple | list) for v in inputs)
    if not rows and not all(isinstance(v, Tensor) or intake.is_array(v) for v in inputs):
        return False
    if rows and not all(map(intake.is_numbers, inputs)):
        return False
    try:
        x, y = (intake.tensor("inputs", v) for v in inputs)
    except TypeError:  # labels in words: what is asked for is the inputs
        return True
    if not x.dim() or not y.dim() or len(x) != len(y):
        return False
    if x.dim() != y.dim() or x.is_floating_point() != y.is_floating_point():
        return True
    return x.dim() == 2 and x.is_floating_point() and y.shape[1] == 1 < x.shape[1]


def _loaded(inputs: Any) -> Iterable[Any]:
    """Return batches of a Dataset; what is none is gone through as it is."""
    return DataLoader(inputs, batch_size=_BATCH) if isinstance(inputs, Dataset) else inputs


def _first(batch: Any) -> Any:
    """Of a batch with targets the inputs."""
    many = isinstance(batch, tuple | list) and not isinstance(batch, PackedSequence)
    if not many or intake.is_numbers(batch):
        return batch
    return batch[0] if batch else batch


def _suited(batch: Any, like: Suiting) -> Any:
    """Return a batch for a model; what holds no numbers in a mapping are settings, and stay."""
    if isinstance(batch, Mapping):
        numbers = {
            key: like.given(f"inputs[{key!r}]", value)
            for key, value in batch.items()
            if isinstance(value, Tensor) or intake.is_array(value) or intake.is_numbers(value)
        }
        return {**batch, **numbers}
    if isinstance(batch, Tensor) or intake.is_array(batch) or intake.is_numbers(batch):
        return like.given("inputs", batch)
    return batch


def _tensors(batch: Any) -> list[Any]:
    if isinstance(batch, PackedSequence):
        return [batch.data]
    return list(batch.values()) if isinstance(batch, Mapping) else [batch]


def _takes_one(model: nn.Module) -> bool:
    """Whether a model is called with one positional argument."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return False
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(places) == 1 and not any(p.kind is p.VAR_POSITIONAL for p in parameters)


def _kind(value: Any) -> str:
    size = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return f"{type(value).__name__}{size}"
