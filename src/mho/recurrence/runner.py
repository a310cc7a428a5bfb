"""The one runner of recurrent layers and cells, given the products of their steps.

One step needs the products of the input and of the hidden state with one matrix each, biases
included, and of an LSTM with projection a third. What they are computed with, the runner does not
know. What follows them are the pure functions of `mho.recurrence.steps`.

The input products of all time steps of one layer and direction are one call; the hidden products,
which wait for one another, are one call a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mho.core import checks
from mho.recurrence.form import Form
from mho.recurrence.layout import Sequences, layout_of
from mho.recurrence.steps import STEPS, State

Product = Callable[[str, Tensor], Tensor]
"""From a part (``ih_l0``, ``hh_l1_reverse``, ``hr_l0``; ``ih`` and ``hh`` of a cell) and its inputs
``[rows, inputs]`` to ``[rows, outputs]``: the product with its matrix, bias included."""

Kernel = Callable[[Tensor, list[int], State], tuple[Tensor, State]]
"""Runs all layers, as `walk` does: from time steps below one another ``[Σ sizes, input_size]``,
the batch sizes of the time steps, which never grow, and the initial state ``[layers · directions,
batch, size]`` to hidden states ``[Σ sizes, directions · size]`` and the final state."""

CellKernel = Callable[[Tensor, State], State]
"""Makes a cell's step, as `step_cell` does: from the input ``[batch, input_size]`` and the state
``[batch, size]`` to the next state."""

_Advance = Callable[[Tensor, State], State]  # from the input product and the state to the next


def run(
    form: Form, x: Sequences, hx: Any, product: Product, *, training: bool
) -> tuple[Sequences, State]:
    """Run a recurrent layer as `torch.nn.RNN`, `LSTM` and `GRU` do.

    Args:
        form: of the layer.
        x: ``[time, batch, input_size]`` (``[batch, time, input_size]`` with ``batch_first``),
            ``[time, input_size]``, or packed.
        hx: initial state ``[layers · directions, batch, size]``, of an LSTM two; None for zeros.
        product: computes the products.
        training: whether dropout acts.

    Returns:
        Outputs ``[…, directions · size]`` in the form of ``x``, and the final state.

    Raises:
        TypeError, ValueError: if ``x`` or ``hx`` is of another kind or shape.
    """
    return run_with(form, x, hx, partial(walk, form, product, training=training))


def run_with(form: Form, x: Sequences, hx: Any, kernel: Kernel) -> tuple[Sequences, State]:
    """Run a recurrent layer with a kernel of one's own; arguments and results are those of `run`.

    Args:
        form: of the layer.
        x: input.
        hx: initial state.
        kernel: runs all layers.
    """
    layout = layout_of(form, x)
    rows = layout.rows(x)
    state = form.initial(hx, (len(form.ends), *layout.lead), rows)
    y, final = kernel(rows, layout.sizes, tuple(map(layout.sort, state)))
    return layout.sequences(y), tuple(map(layout.unsort, final))


def run_cell(form: Form, x: Tensor, hx: Any, product: Product) -> State:
    """Run a recurrent cell, one step, as `torch.nn.RNNCell`, `LSTMCell` and `GRUCell` do.

    Args:
        form: of the cell.
        x: ``[batch, input_size]`` or ``[input_size]``.
        hx: state ``[batch, size]`` or ``[size]``, of an LSTM two; None for zeros.
        product: computes the products.

    Returns:
        The next state.

    Raises:
        TypeError, ValueError: if ``x`` or ``hx`` is of another kind or shape.
    """
    return run_cell_with(form, x, hx, partial(step_cell, form, product))


def run_cell_with(form: Form, x: Tensor, hx: Any, kernel: CellKernel) -> State:
    """Run a recurrent cell with a kernel of one's own; the rest is that of `run_cell`.

    Args:
        form: of the cell.
        x: input.
        hx: state.
        kernel: makes the step.
    """
    checks.instance("input", x, Tensor)
    if x.dim() not in (1, 2) or x.shape[-1] != form.input_size:
        raise ValueError(
            f"input must have shape [batch, {form.input_size}] or [{form.input_size}], "
            f"got {list(x.shape)}"
        )
    state = form.initial(hx, tuple(x.shape[:-1]), x)
    if x.dim() == 2:
        return kernel(x, state)
    return tuple(s.squeeze(0) for s in kernel(x.unsqueeze(0), tuple(s.unsqueeze(0) for s in state)))


def walk(
    form: Form, product: Product, rows: Tensor, sizes: list[int], state: State, *, training: bool
) -> tuple[Tensor, State]:
    """Run all layers over time steps below one another.

    Args:
        form: of the layer or cell.
        product: computes the products.
        rows: ``[Σ sizes, input_size]``.
        sizes: of the batch at every time step, never growing.
        state: initial, ``[layers · directions, batch, size]`` each.
        training: whether dropout acts.

    Returns:
        Hidden states ``[Σ sizes, directions · size]``, and the final state.
    """
    finals = []
    for first in range(0, len(form.ends), form.directions):
        if first and form.dropout:
            rows = F.dropout(rows, form.dropout, training)
        outputs = []
        for way in range(form.directions):
            end = form.ends[first + way]
            inputs = product(f"ih{end}", rows).split(sizes)
            start = tuple(s[first + way] for s in state)
            y, final = _WAYS[way](_advance(form, end, product), inputs, start)
            outputs.append(torch.cat(y))
            finals.append(final)
        rows = torch.cat(outputs, -1)
    return rows, tuple(torch.stack(parts) for parts in zip(*finals, strict=True))


def step_cell(form: Form, product: Product, x: Tensor, state: State) -> State:
    """Make a cell's step from ``x [batch, input_size]`` and ``state``, ``[batch, size]`` each."""
    return _advance(form, "", product)(product("ih", x), state)


def _advance(form: Form, end: str, product: Product) -> _Advance:
    step, hidden = STEPS[form.mode], f"hh{end}"
    project = f"hr{end}" if form.proj_size else None

    def advance(inputs: Tensor, state: State) -> State:
        state = step(inputs, product(hidden, state[0]), state)
        return state if project is None else (product(project, state[0]), *state[1:])

    return advance


def _forwards(
    advance: _Advance, inputs: Sequence[Tensor], state: State
) -> tuple[list[Tensor], State]:
    """Walk from the first time step on; shorter sequences, the last of the batch, end early.

    Args:
        advance: one time step.
        inputs: input products, ``[batch at that time, …]`` each.
        state: initial, ``[batch, size]`` each.

    Returns:
        Hidden states of every time step, and the final state ``[batch, size]`` of each sequence.
    """
    outputs, ended = [], []
    for step in inputs:
        running = step.shape[0]
        if running < state[0].shape[0]:
            ended.append(tuple(s[running:] for s in state))
            state = tuple(s[:running] for s in state)
        state = advance(step, state)
        outputs.append(state[0])
    if ended:
        state = tuple(torch.cat(parts) for parts in zip(state, *reversed(ended), strict=True))
    return outputs, state


def _backwards(
    advance: _Advance, inputs: Sequence[Tensor], first: State
) -> tuple[list[Tensor], State]:
    """Walk from the last time step back; each sequence joins at its own end, from ``first``.

    Arguments and results are those of `_forwards`, hidden states in the order of time.
    """
    outputs = []
    state = tuple(s[:0] for s in first)
    for step in reversed(inputs):
        running, before = step.shape[0], state[0].shape[0]
        if running > before:
            joining = [s[before:running] for s in first]
            state = tuple(torch.cat(parts) for parts in zip(state, joining, strict=True))
        state = advance(step, state)
        outputs.append(state[0])
    return outputs[::-1], state


_WAYS = (_forwards, _backwards)
