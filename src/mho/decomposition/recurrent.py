"""Samples of recurrent layers: the cell's equations run again, so that every product is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from mho.recurrence.form import Form
from mho.recurrence.layout import layout_of
from mho.recurrence.runner import walk
from mho.recurrence.steps import State

CELLS = (nn.RNNCell, nn.LSTMCell, nn.GRUCell)


def unsupported(module: Any) -> str | None:
    """Return why a recurrent layer's samples cannot be had, or None if they can."""
    if getattr(module, "dropout", 0.0) and module.num_layers > 1:
        return "the dropout between recurrent layers is drawn inside of torch's kernel"
    names = {name for name, _ in module.named_parameters(recurse=False)}
    wanted = {f"weight_{part}" for part in Form.of(module).parts}
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
        rows: its input, time steps below one another ``[Σ sizes, in]``.
        sizes: of the batch at every time step, never growing.
        state: initial, ``[layers · directions, batch, size]`` each.
        arrange: for every tensor it returned (hidden states of all time steps, not of a cell, and
            final states), what lays out derivatives by it as the equations do.
    """

    layer: Any
    rows: Tensor
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
        products: list[Product] = []
        multiply = partial(_multiply, self.layer, products)
        with torch.enable_grad():
            hidden, final = walk(
                Form.of(self.layer), multiply, self.rows, self.sizes, self.state, training=False
            )
        outputs = (hidden, *final)[-len(self.arrange) :]  # a cell returns its state alone
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
    """Return the tensors that a recurrent layer, cell or attention gives, one after another."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, PackedSequence):
        return [output.data]
    if output is None:  # attention's weights, where nobody asked for them
        return []
    return [tensor for part in output for tensor in tensors(part)]


def mapped(function: Callable[[Tensor], Tensor], output: Any) -> Any:
    """Apply a function to every tensor that a recurrent layer, cell or attention gives."""
    if isinstance(output, Tensor):
        return function(output)
    if isinstance(output, PackedSequence):
        indices = output.sorted_indices, output.unsorted_indices
        return PackedSequence(function(output.data), output.batch_sizes, *indices)
    if output is None:
        return None
    return tuple(mapped(function, part) for part in output)


def recorded_call(layer: Any, args: Any, kwargs: Any, output: Any) -> Call:
    """Gather what a forward hook of a recurrent layer or cell is given."""
    given = (*args, *(value for name, value in kwargs.items() if name != "hx"))
    x = mapped(Tensor.detach, given[0])
    hx = kwargs.get("hx", given[1] if len(given) > 1 else None)
    hx = None if hx is None else mapped(Tensor.detach, hx)
    cell, count = not hasattr(layer, "num_layers"), len(tensors(output))
    if cell:  # one time step of one layer
        x, hx = x.unsqueeze(0), None if hx is None else mapped(partial(torch.unsqueeze, dim=0), hx)
    form = Form.of(layer)
    layout = layout_of(form, x)
    rows = layout.rows(x)
    state = form.initial(hx, (len(form.ends), *layout.lead), rows)
    arrange: list[Callable[[Tensor], Tensor]]
    if cell:
        arrange = [lambda g: layout.sort(g.unsqueeze(0))] * count
    else:  # of packed outputs, `tensors` gave the rows
        rows_of = _as_it_is if isinstance(x, PackedSequence) else layout.rows
        arrange = [rows_of, *[layout.sort] * (count - 1)]
    return Call(layer, rows, layout.sizes, tuple(map(layout.sort, state)), arrange)


def _multiply(layer: Any, products: list[Product], part: str, x: Tensor) -> Tensor:
    """Multiply as the layer does, and note the product."""
    y = x @ getattr(layer, f"weight_{part}").detach().T
    # A leaf of autograd's: derivatives by the product are all that is asked for.
    y = y if y.requires_grad else y.requires_grad_()
    products.append(Product(f"weight_{part}", x, y))
    bias = getattr(layer, f"bias_{part}", None)
    return y if bias is None else y + bias.detach()


def _as_it_is(g: Tensor) -> Tensor:
    return g
