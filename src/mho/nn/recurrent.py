"""Recurrent layers on crossbars: whole sequences, several layers, one or two directions.

Padded and packed sequences are one case inside: time steps one below the other, of batch sizes
that never grow. The input products of all time steps are one read; only the hidden products,
which wait for one another, are read step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from mho.core import checks
from mho.recurrence.runner import Recurrent
from mho.recurrence.steps import STEPS, State

Sequences = Tensor | PackedSequence

Advance = Callable[[Tensor, State], State]
"""One time step: from the input product and the state to the next state."""


class _Layer(Recurrent):
    """Base of `RNN`, `LSTM` and `GRU`.

    Takes the arguments of the torch layer, and ``hardware`` and ``seed``. Where every crossbar is
    one matrix (`Crossbar.collapsed`) and drivers are ideal, torch's own kernels do the work.

    Attributes:
        weight_ih_l0: digital weights ``[gates · hidden_size, input_size]``; and as torch names
            them, for other layers, ``_reverse``, the hidden state (``hh``), a projection (``hr``)
            and the biases.
        crossbar_ih_l0: the cells that hold ``weight_ih_l0``; and so on for every matrix.
    """

    def _adopt_settings(self, source: Any) -> None:
        self.mode = source.mode
        self.num_layers, self.bidirectional = source.num_layers, source.bidirectional
        self.batch_first, self.dropout = source.batch_first, source.dropout
        self.proj_size = source.proj_size

    def _blank(self, *, bias: bool, **kind: Any) -> nn.Module:
        if self.proj_size:
            kind["proj_size"] = self.proj_size
        if isinstance(self, RNN):
            kind["nonlinearity"] = self.nonlinearity
        make: Any = self.kind
        blank: Any = make(
            self.input_size,
            self.hidden_size,
            self.num_layers,
            bias=bias,
            batch_first=self.batch_first,
            bidirectional=self.bidirectional,
            **kind,
        )
        blank.dropout = self.dropout  # set afterwards, torch does not warn of it a second time
        return blank

    @property
    def _ends(self) -> list[str]:
        directions = ("", "_reverse") if self.bidirectional else ("",)
        return [f"_l{layer}{way}" for layer in range(self.num_layers) for way in directions]

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The digital parameters, one list per layer and direction, as torch gives them."""
        return [
            [p for n, p in self._parameters.items() if p is not None and _end(n) == end]
            for end in self._ends
        ]

    def flatten_parameters(self) -> None:
        """Do nothing: there is no buffer of torch's to be kept contiguous."""

    # ── forward ──────────────────────────────────────────────────────────────────────────────

    def _run(self, x: Sequences, hx: Any) -> tuple[Sequences, State]:
        """Return outputs, in the form of ``x``, and the final state of every sequence."""
        checks.instance("input", x, (Tensor, PackedSequence))
        if isinstance(x, PackedSequence):
            return self._run_packed(x, hx)
        sides = ("batch", "time") if self.batch_first else ("time", "batch")
        if x.dim() not in (2, 3) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"input must have shape [{', '.join(sides)}, {self.input_size}] or "
                f"[time, {self.input_size}], got {list(x.shape)}"
            )
        batch = () if x.dim() == 2 else (x.shape[sides.index("batch")],)
        state = self._initial(hx, (len(self._ends), *batch), x)
        if x.dim() == 2:
            y, state = self._run_dense(x.unsqueeze(1), tuple(s.unsqueeze(1) for s in state))
            return y.squeeze(1), tuple(s.squeeze(1) for s in state)
        if self.batch_first:
            y, state = self._run_dense(x.transpose(0, 1), state)
            return y.transpose(0, 1), state
        return self._run_dense(x, state)

    def _run_dense(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run ``x [time, batch, input_size]`` from ``state [layers · directions, batch, size]``."""
        time, batch, _ = x.shape
        if not time:
            raise ValueError(f"input must hold at least one time step, got {list(x.shape)}")
        if self._is_native:
            return self._run_native((x,), state)
        y, state = self._run_steps(x.flatten(0, 1), [batch] * time, state)
        return y.unflatten(0, (time, batch)), state

    def _run_packed(self, x: PackedSequence, hx: Any) -> tuple[PackedSequence, State]:
        checks.columns("packed input", x.data, self.input_size)
        sizes: list[int] = x.batch_sizes.tolist()
        state = self._initial(hx, (len(self._ends), sizes[0]), x.data)
        if x.sorted_indices is not None:
            state = tuple(s.index_select(1, x.sorted_indices) for s in state)
        if self._is_native:
            y, state = self._run_native((x.data, x.batch_sizes), state)
        else:
            y, state = self._run_steps(x.data, sizes, state)
        if x.unsorted_indices is not None:
            state = tuple(s.index_select(1, x.unsorted_indices) for s in state)
        return PackedSequence(y, x.batch_sizes, x.sorted_indices, x.unsorted_indices), state

    def _run_native(self, x: tuple[Tensor, ...], state: State) -> tuple[Tensor, State]:
        """One matrix says it all of every crossbar: torch's kernels, with effective weights.

        Args:
            x: ``[time, batch, input_size]``; or packed data and its batch sizes.
            state: ``[layers · directions, batch, size]`` each.
        """
        found = self._effective()
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")  # torch's order
        flat = [found[k + end] for end in self._ends for k in kinds if k + end in found]
        biased = any(name.startswith("bias") for name in found)
        options: list[Any] = [biased, self.num_layers, self.dropout, self.training]
        options.append(self.bidirectional)
        if len(x) == 1:
            options.append(False)  # batch_first
        kernel: Any = getattr(torch._VF, self.mode.lower())
        y, *final = kernel(*x, state if self.mode == "LSTM" else state[0], flat, *options)
        return y, tuple(final)

    def _run_steps(self, x: Tensor, sizes: list[int], state: State) -> tuple[Tensor, State]:
        """The general path.

        Args:
            x: ``[Σ sizes, input_size]``, the time steps below one another.
            sizes: of the batch at every time step, never growing.
            state: ``[layers · directions, batch, size]`` each.
        """
        products = self._products()
        ends = iter(enumerate(self._ends))
        finals = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x = F.dropout(x, self.dropout, self.training)
            outputs = []
            for way in range(1 + self.bidirectional):
                index, end = next(ends)
                inputs = products[f"ih{end}"](x).split(sizes)
                advance = self._step(products[f"hh{end}"], products.get(f"hr{end}"))
                walk = _backwards if way else _forwards
                y, final = walk(advance, inputs, tuple(s[index] for s in state))
                outputs.append(torch.cat(y))
                finals.append(final)
            x = torch.cat(outputs, -1)
        return x, tuple(torch.stack(parts) for parts in zip(*finals, strict=True))

    def _step(
        self, hidden: Callable[[Tensor], Tensor], project: Callable[[Tensor], Tensor] | None
    ) -> Advance:
        step = STEPS[self.mode]

        def advance(inputs: Tensor, state: State) -> State:
            state = step(inputs, hidden(state[0]), state)
            return state if project is None else (project(state[0]), *state[1:])

        return advance

    def extra_repr(self) -> str:
        """As the torch layer prints itself."""
        defaults = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
        }
        changed = [f"{k}={getattr(self, k)}" for k, v in defaults.items() if getattr(self, k) != v]
        return ", ".join((str(self.input_size), str(self.hidden_size), *changed))


def _end(name: str) -> str:
    """The end ``_l0_reverse`` of a parameter's name ``weight_ih_l0_reverse``."""
    return name[name.index("_l") :]


def _forwards(
    advance: Advance, inputs: Sequence[Tensor], state: State
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
        running = len(step)
        if running < len(state[0]):
            ended.append(tuple(s[running:] for s in state))
            state = tuple(s[:running] for s in state)
        state = advance(step, state)
        outputs.append(state[0])
    if ended:
        state = tuple(torch.cat(parts) for parts in zip(state, *reversed(ended), strict=True))
    return outputs, state


def _backwards(
    advance: Advance, inputs: Sequence[Tensor], first: State
) -> tuple[list[Tensor], State]:
    """Walk from the last time step back; each sequence joins at its own end, from ``first``.

    Arguments and results are those of `_forwards`, hidden states in the order of time.
    """
    outputs = []
    state = tuple(s[:0] for s in first)
    for step in reversed(inputs):
        running = len(step)
        if running > len(state[0]):
            joining = [s[len(state[0]) : running] for s in first]
            state = tuple(torch.cat(parts) for parts in zip(state, joining, strict=True))
        state = advance(step, state)
        outputs.append(state[0])
    return outputs[::-1], state


class RNN(_Layer):
    """A `torch.nn.RNN` (``nonlinearity`` tanh or relu) whose weights are on crossbars."""

    kind = nn.RNN

    def _adopt_settings(self, source: Any) -> None:
        super()._adopt_settings(source)
        self.nonlinearity = source.nonlinearity

    def forward(self, x: Sequences, hx: Tensor | None = None) -> tuple[Sequences, Tensor]:
        """Run over sequences.

        Args:
            x: ``[time, batch, input_size]``, ``[batch, time, input_size]`` with ``batch_first``,
                ``[time, input_size]``, or packed.
            hx: initial state ``[layers · directions, batch, hidden_size]``; zeros if not given.

        Returns:
            Outputs ``[…, directions · hidden_size]`` in the form of ``x``, and the final state.
        """
        y, (h,) = self._run(x, hx)
        return y, h


class LSTM(_Layer):
    """A `torch.nn.LSTM` (``proj_size`` too) whose weights are on crossbars."""

    kind = nn.LSTM

    def forward(
        self, x: Sequences, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Sequences, tuple[Tensor, Tensor]]:
        """Run over sequences.

        Args:
            x: ``[time, batch, input_size]``, ``[batch, time, input_size]`` with ``batch_first``,
                ``[time, input_size]``, or packed.
            hx: initial ``h [layers · directions, batch, proj_size or hidden_size]`` and
                ``c [layers · directions, batch, hidden_size]``; zeros if not given.

        Returns:
            Outputs ``[…, directions · (proj_size or hidden_size)]`` in the form of ``x``, and the
            final ``(h, c)``.
        """
        y, (h, c) = self._run(x, hx)
        return y, (h, c)


class GRU(_Layer):
    """A `torch.nn.GRU` whose weights are on crossbars."""

    kind = nn.GRU

    def forward(self, x: Sequences, hx: Tensor | None = None) -> tuple[Sequences, Tensor]:
        """Run over sequences.

        Args:
            x: ``[time, batch, input_size]``, ``[batch, time, input_size]`` with ``batch_first``,
                ``[time, input_size]``, or packed.
            hx: initial state ``[layers · directions, batch, hidden_size]``; zeros if not given.

        Returns:
            Outputs ``[…, directions · hidden_size]`` in the form of ``x``, and the final state.
        """
        y, (h,) = self._run(x, hx)
        return y, h
