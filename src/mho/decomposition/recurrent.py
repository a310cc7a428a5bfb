"""Samples of recurrent layers: the cell's equations run again, so that every product is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from mho.recurrence.steps import STEPS, State

CELLS = (nn.RNNCell, nn.LSTMCell, nn.GRUCell)


def unsupported(module: Any) -> str | None:
    """Return why a recurrent layer's samples cannot be had, or None if they can."""
    if getattr(module, "dropout", 0.0) and module.num_layers > 1:
        return "the dropout between recurrent layers is drawn inside of torch's kernel"
    names = {name for name, _ in module.named_parameters(recurse=False)}
    wanted = {f"weight_{kind}{end}" for end in _ends(module) for kind in _kinds(module)}
    return None if wanted <= names else "a parametrisation makes its weights"


@dataclass(frozen=True)
class Product:
    """One use of a weight: ``y = x weightᵀ``, with ``x [rows, in]`` and ``y [rows, out]``."""

    weight: str
    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Call:
    """One call of a recurrent layer.

    Attributes:
        layer: the layer.
        x: its input, time steps below one another ``[Σ sizes, in]``.
        sizes: of the batch at every time step, never growing.
        state: initial, ``[layers · directions, batch, size]`` each, or nothing for zeros.
        arrange: for every tensor it returned (hidden states of all time steps, not of a cell, and
            final states), what lays out derivatives by it as the equations do.
    """

    layer: Any
    x: Tensor
    sizes: list[int]
    state: State
    arrange: list[Callable[[Tensor], Tensor]]

    def samples(
        self, grads: Sequence[Tensor | None]
    ) -> Iterator[tuple[nn.Parameter, Tensor, Tensor]]:
        """Yield, use by use, a weight, its inputs and the derivatives by its products.

        Args:
            grads: derivatives of the loss by every tensor it returned, or None.
        """
        with torch.enable_grad():
            outputs, products = _run(self.layer, self.x, self.sizes, self.state)
        outputs = outputs[-len(self.arrange) :]  # a cell returns its state alone
        pairs = [
            (y, arrange(g))
            for y, arrange, g in zip(outputs, self.arrange, grads, strict=True)
            if g is not None
        ]
        deltas = torch.autograd.grad(
            [y for y, _ in pairs],
            [p.y for p in products],
            [g.to(y.dtype) for y, g in pairs],
            allow_unused=True,
        )
        for product, delta in zip(products, deltas, strict=True):
            if delta is not None:
                yield getattr(self.layer, product.weight), product.x.detach(), delta


def tensors(output: Any) -> list[Tensor]:
    """Return the tensors that a recurrent layer or cell gives, one after another."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, PackedSequence):
        return [output.data]
    return [tensor for part in output for tensor in tensors(part)]


def mapped(function: Callable[[Tensor], Tensor], output: Any) -> Any:
    """Apply a function to every tensor that a recurrent layer or cell gives."""
    if isinstance(output, Tensor):
        return function(output)
    if isinstance(output, PackedSequence):
        indices = output.sorted_indices, output.unsorted_indices
        return PackedSequence(function(output.data), output.batch_sizes, *indices)
    return tuple(mapped(function, part) for part in output)


def recorded_call(layer: Any, args: Any, kwargs: Any, output: Any) -> Call:
    """Gather what a forward hook of a recurrent layer or cell is given."""
    given = (*args, *kwargs.values())
    x, hx = given[0], given[1] if len(given) > 1 else None
    state: State = () if hx is None else tuple(s.detach() for s in tensors(hx))
    count = len(tensors(output))
    if not hasattr(layer, "num_layers"):
        return _cell_call(layer, x.detach(), state, count)
    if isinstance(x, PackedSequence):
        return _packed_call(layer, x, state, count - 1)
    return _dense_call(layer, x.detach(), state, count - 1)


def _cell_call(layer: Any, x: Tensor, state: State, finals: int) -> Call:
    x = x if x.dim() == 2 else x.unsqueeze(0)
    state = tuple(s.reshape(1, len(x), -1) for s in state)
    return Call(layer, x, [len(x)], state, [lambda g: g.reshape(1, -1, g.shape[-1])] * finals)


def _dense_call(layer: Any, x: Tensor, state: State, finals: int) -> Call:
    batched = x.dim() == 3

    def rows(sequence: Tensor) -> Tensor:
        if not batched:
            return sequence
        return (sequence.transpose(0, 1) if layer.batch_first else sequence).flatten(0, 1)

    def final(g: Tensor) -> Tensor:
        return g if batched else g.unsqueeze(1)

    batch = 1 if not batched else x.shape[0 if layer.batch_first else 1]
    x = rows(x)
    sizes = [batch] * (len(x) // batch)
    return Call(layer, x, sizes, tuple(map(final, state)), [rows, *[final] * finals])


def _packed_call(layer: Any, x: PackedSequence, state: State, finals: int) -> Call:
    def sort(s: Tensor) -> Tensor:
        return s if x.sorted_indices is None else s.index_select(1, x.sorted_indices)

    arrange: list[Callable[[Tensor], Tensor]] = [lambda g: g, *[sort] * finals]
    return Call(layer, x.data.detach(), x.batch_sizes.tolist(), tuple(map(sort, state)), arrange)


# ── the equations ────────────────────────────────────────────────────────────────────────────


def _mode(layer: Any) -> str:
    """RNN_TANH, RNN_RELU, LSTM or GRU."""
    if hasattr(layer, "mode"):
        return str(layer.mode)
    if isinstance(layer, nn.RNNCell):
        return f"RNN_{layer.nonlinearity.upper()}"
    return "LSTM" if isinstance(layer, nn.LSTMCell) else "GRU"


def _kinds(layer: Any) -> tuple[str, ...]:
    return ("ih", "hh", "hr") if getattr(layer, "proj_size", 0) else ("ih", "hh")


def _ends(layer: Any) -> list[str]:
    """Ends of parameter names, one per layer and direction."""
    if not hasattr(layer, "num_layers"):
        return [""]
    ways = ("", "_reverse") if layer.bidirectional else ("",)
    return [f"_l{number}{way}" for number in range(layer.num_layers) for way in ways]


def _run(
    layer: Any, x: Tensor, sizes: list[int], state: State
) -> tuple[list[Tensor], list[Product]]:
    """Run a layer over time steps below one another.

    Returns:
        Hidden states ``[Σ sizes, directions · size]`` and final states ``[layers · directions,
        batch, size]``, and every product on the way.
    """
    ends, products = _ends(layer), list[Product]()
    ways = 2 if getattr(layer, "bidirectional", False) else 1
    sides = (getattr(layer, "proj_size", 0) or layer.hidden_size, layer.hidden_size)
    if not state:
        state = tuple(
            x.new_zeros(len(ends), sizes[0], side) for side in sides[: 1 + (_mode(layer) == "LSTM")]
        )
    finals = []
    for first in range(0, len(ends), ways):
        outputs = []
        for way in range(ways):
            index = first + way
            start = tuple(s[index] for s in state)
            y, final = _walk(layer, ends[index], x, sizes, start, bool(way), products)
            outputs.append(y)
            finals.append(final)
        x = torch.cat(outputs, -1)
    return [x, *map(torch.stack, zip(*finals, strict=True))], products


def _walk(
    layer: Any,
    end: str,
    x: Tensor,
    sizes: list[int],
    start: State,
    backwards: bool,
    products: list[Product],
) -> tuple[Tensor, State]:
    """Run one direction of one layer; sequences that end early keep their last state."""

    def multiply(kind: str, rows: Tensor) -> Tensor:
        # A leaf of autograd's: derivatives by the product are all that is asked for.
        weight = getattr(layer, f"weight_{kind}{end}").detach()
        y = rows @ weight.T
        y = y if y.requires_grad else y.requires_grad_()
        products.append(Product(f"weight_{kind}{end}", rows, y))
        bias = getattr(layer, f"bias_{kind}{end}", None)
        return y if not isinstance(bias, Tensor) else y + bias.detach()

    step, projected = STEPS[_mode(layer)], "hr" in _kinds(layer)
    inputs = multiply("ih", x).split(sizes)
    outputs: list[Tensor] = []
    state = start
    for row in reversed(inputs) if backwards else inputs:
        n = len(row)
        now = tuple(s[:n] for s in state)
        new = step(row, multiply("hh", now[0]), now)
        if projected:
            new = (multiply("hr", new[0]), *new[1:])
        outputs.append(new[0])
        # Rows beyond n: ended, or (backwards) not yet begun.
        state = tuple(torch.cat((s, old[n:])) for s, old in zip(new, state, strict=True))
    return torch.cat(outputs[::-1] if backwards else outputs), state
