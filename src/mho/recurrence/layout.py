"""Sequences of every form as one: time steps below one another, of batch sizes that never grow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from mho.core import checks
from mho.recurrence.form import Form

Sequences = Tensor | PackedSequence


@dataclass(frozen=True)
class Layout:
    """How sequences lie as they are given, and how the runner reads them.

    Attributes:
        lead: dimensions of a given state between its layers and its features: ``(batch,)``, or
            none of one sequence without a batch.
        sizes: of the batch at every time step, never growing.
        rows: lays the time steps of sequences below one another, ``[Σ sizes, features]``.
        sequences: undoes ``rows``.
        sort: turns a given state into ``[layers · directions, batch, size]``, in the order of
            ``rows``.
        unsort: undoes ``sort``.
    """

    lead: tuple[int, ...]
    sizes: list[int]
    rows: Callable[[Any], Tensor]
    sequences: Callable[[Tensor], Any]
    sort: Callable[[Tensor], Tensor]
    unsort: Callable[[Tensor], Tensor]


def layout_of(form: Form, x: Sequences) -> Layout:
    """Return how the input of a layer lies.

    Args:
        form: of the layer.
        x: ``[time, batch, input_size]`` (``[batch, time, input_size]`` with ``batch_first``),
            ``[time, input_size]``, or packed.

    Raises:
        TypeError, ValueError: if it is nothing of these, or holds no time step.
    """
    checks.instance("input", x, (Tensor, PackedSequence))
    if isinstance(x, PackedSequence):
        checks.columns("packed input", x.data, form.input_size)
        return _packed(x)
    sides = ("batch", "time") if form.batch_first else ("time", "batch")
    if x.dim() not in (2, 3) or x.shape[-1] != form.input_size:
        raise ValueError(
            f"input must have shape [{', '.join(sides)}, {form.input_size}] or "
            f"[time, {form.input_size}], got {list(x.shape)}"
        )
    time = x.shape[sides.index("time") if x.dim() == 3 else 0]
    if not time:
        raise ValueError(f"input must hold at least one time step, got {list(x.shape)}")
    if x.dim() == 2:
        return _single(time)
    return _padded(time, x.shape[sides.index("batch")], form.batch_first)


def _padded(time: int, batch: int, batch_first: bool) -> Layout:
    def rows(x: Tensor) -> Tensor:
        return (x.transpose(0, 1) if batch_first else x).flatten(0, 1)

    def sequences(y: Tensor) -> Tensor:
        y = y.unflatten(0, (time, batch))
        return y.transpose(0, 1) if batch_first else y

    return Layout((batch,), [batch] * time, rows, sequences, _as_it_is, _as_it_is)


def _single(time: int) -> Layout:
    def sort(state: Tensor) -> Tensor:
        return state.unsqueeze(1)

    def unsort(state: Tensor) -> Tensor:
        return state.squeeze(1)

    return Layout((), [1] * time, _as_it_is, _as_it_is, sort, unsort)


def _packed(x: PackedSequence) -> Layout:
    def rows(pack: PackedSequence) -> Tensor:
        return pack.data

    def sequences(y: Tensor) -> PackedSequence:
        return PackedSequence(y, x.batch_sizes, x.sorted_indices, x.unsorted_indices)

    sizes: list[int] = x.batch_sizes.tolist()
    sort, unsort = partial(_take, x.sorted_indices), partial(_take, x.unsorted_indices)
    return Layout((sizes[0],), sizes, rows, sequences, sort, unsort)


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _take(order: Tensor | None, state: Tensor) -> Tensor:
    return state if order is None else state.index_select(1, order)
