"""Recurrent layers on crossbars: whole sequences, several layers, one or two directions.

The input products of all time steps are one read; only the hidden products, which wait for one
another, are read step by step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mho.core.precision import handed_out
from mho.nn.recurrent_base import Recurrent
from mho.recurrence.layout import Sequences
from mho.recurrence.runner import run_with, walk
from mho.recurrence.steps import State


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

    num_layers: int
    bidirectional: bool
    batch_first: bool
    dropout: float
    # What torch keeps for its kernels.
    left_behind = (
        *Recurrent.left_behind,
        "_flat_weights",
        "_flat_weights_names",
        "_flat_weight_refs",
        "_all_weights",
    )

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
    def all_weights(self) -> list[list[Tensor]]:
        """The digital weights, one list per layer and direction, as torch gives them."""
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")  # torch's order
        names = [[kind + end for kind in kinds] for end in self.form.ends]
        return [[getattr(self, n) for n in some if self.holds(n)] for some in names]

    def flatten_parameters(self) -> None:
        """Do nothing: there is no buffer of torch's to be kept contiguous."""

    # ── forward ──────────────────────────────────────────────────────────────────────────────

    def _run(self, x: Sequences, hx: Any) -> tuple[Sequences, State]:
        """Return outputs, in the form of ``x``, and the final state of every sequence."""
        return run_with(self.form, x, hx, self._native if self._is_native else self._stepped)

    def _stepped(self, rows: Tensor, sizes: list[int], state: State) -> tuple[Tensor, State]:
        """Read the crossbars step by step. A `mho.recurrence.runner.Kernel`."""
        kind, product = handed_out(rows), self._product(rows)
        y, final = walk(self.form, product, rows, sizes, state, training=self.training)
        if self.mode != "LSTM":
            return y, final
        return y.to(kind), tuple(part.to(kind) for part in final)  # as torch's under autocast

    def _native(self, rows: Tensor, sizes: list[int], state: State) -> tuple[Tensor, State]:
        """Run torch's kernels with effective weights: one matrix says it all of every crossbar.

        A `mho.recurrence.runner.Kernel`.
        """
        found = self._effective(rows)
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")  # torch's order
        flat = [found[k + end] for end in self.form.ends for k in kinds if k + end in found]
        biased = any(name.startswith("bias") for name in found)
        options: list[Any] = [biased, self.num_layers, self.dropout, self.training]
        options.append(self.bidirectional)
        kernel: Any = getattr(torch._VF, self.mode.lower())
        hx = self.form.as_torch(state)
        if sizes[0] == sizes[-1]:
            steps = rows.unflatten(0, (len(sizes), sizes[0]))
            y, *final = kernel(steps, hx, flat, *options, False)  # not batch first
            return y.flatten(0, 1), tuple(final)
        y, *final = kernel(rows, torch.tensor(sizes), hx, flat, *options)
        return y, tuple(final)

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


class RNN(_Layer):
    """A `torch.nn.RNN` (``nonlinearity`` tanh or relu) whose weights are on crossbars."""

    kind = nn.RNN

    nonlinearity: str

    def forward(self, input: Sequences, hx: Tensor | None = None) -> tuple[Sequences, Tensor]:
        """Run over sequences.

        Args:
            input: ``[time, batch, input_size]``, ``[batch, time, input_size]`` if ``batch_first``,
                ``[time, input_size]``, or packed.
            hx: initial state ``[layers · directions, batch, hidden_size]``; zeros if not given.

        Returns:
            Outputs ``[…, directions · hidden_size]`` in the form of ``input``, and the final state.
        """
        y, (h,) = self._run(input, hx)
        return y, h


class LSTM(_Layer):
    """A `torch.nn.LSTM` (``proj_size`` too) whose weights are on crossbars."""

    kind = nn.LSTM

    def forward(
        self, input: Sequences, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Sequences, tuple[Tensor, Tensor]]:
        """Run over sequences.

        Args:
            input: ``[time, batch, input_size]``, ``[batch, time, input_size]`` if ``batch_first``,
                ``[time, input_size]``, or packed.
            hx: initial ``h [layers · directions, batch, proj_size or hidden_size]`` and
                ``c [layers · directions, batch, hidden_size]``; zeros if not given.

        Returns:
            Outputs ``[…, directions · (proj_size or hidden_size)]`` in the form of ``input``, and
            the final ``(h, c)``.
        """
        y, (h, c) = self._run(input, hx)
        return y, (h, c)


class GRU(_Layer):
    """A `torch.nn.GRU` whose weights are on crossbars."""

    kind = nn.GRU

    def forward(self, input: Sequences, hx: Tensor | None = None) -> tuple[Sequences, Tensor]:
        """Run over sequences.

        Args:
            input: ``[time, batch, input_size]``, ``[batch, time, input_size]`` if ``batch_first``,
                ``[time, input_size]``, or packed.
            hx: initial state ``[layers · directions, batch, hidden_size]``; zeros if not given.

        Returns:
            Outputs ``[…, directions · hidden_size]`` in the form of ``input``, and the final state.
        """
        y, (h,) = self._run(input, hx)
        return y, h
