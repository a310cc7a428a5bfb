"""Verify reads: one cell of a bit line at a time, or several at once in a Hadamard code.

The read circuit of a bit line is noisy, whatever flows into it. Read one by one, each cell shows
the whole noise σ. Of N cells on a bit line that are read together N times, with voltages ±v by the
rows of a Hadamard matrix H, the circuit shows ``y = H g + ε``, and ``Hᵀ y / N = g + Hᵀ ε / N``:
as many reads, noise σ/√N on every cell. Whatever adds the same to all reads of a bit line (an
offset of its circuit) is orthogonal to all columns of H but the first, and is seen by the first
cell of each group alone.

Source: I. Choi et al., "HARP: Hadamard-domain write-and-verify for noise-robust RRAM programming",
2026, arXiv:2604.12420 (there: HD-PV).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mho.circuit.half_select import as_arrays
from mho.programming import access
from mho.programming.hadamard import hadamard

if TYPE_CHECKING:
    from mho.programming.scheme import WriteVerify
    from mho.programming.writers import Writer


def deviation(scheme: WriteVerify) -> float:
    """Return the standard deviation of what a verify read says of one cell, in parts of a window.

    Where the converter has steps, for inputs that fall anywhere within one.
    """
    white = scheme.read_noise**2 + scheme.read_step**2 / 12.0
    return math.sqrt(white / (scheme.reads * scheme.hadamard))


class Verifier:
    """The verify reads of one population, and what they cost.

    Args:
        scheme: gives the code, how often each read is repeated, noise, offset and step.
        like: a tensor of the population's shape.
        span: what noise, offset and step are parts of (S).
        generator: of the noise.

    Attributes:
        noise: standard deviation (S) of what a read says of one cell.
        reads: readings of bit lines so far.
        time: of all reads so far (s).
        energy: dissipated in the cells by all reads so far (J).
    """

    def __init__(
        self, scheme: WriteVerify, like: Tensor, span: float, generator: torch.Generator | None
    ) -> None:
        self.scheme, self._generator = scheme, generator
        self._sigma, self._step = scheme.read_noise * span, scheme.read_step * span
        self._code = hadamard(scheme.hadamard).to(like)
        rows = like.shape[-2] if like.dim() > 1 else 1
        self._groups = math.ceil(rows / scheme.hadamard)
        self._offset: Tensor | None = None
        if scheme.read_offset and like.numel():
            self._offset = self._drawn(scheme.read_offset * span, as_arrays(like)[:, :1])
        self.noise = deviation(scheme) * span
        self.reads, self.time, self.energy = 0, 0.0, 0.0

    def read(self, writer: Writer, wanted: Tensor) -> Tensor:
        """Read cells; return what the reads say (S), noise included, of all cells.

        Args:
            writer: of the population.
            wanted: the cells to read. A group of a code is read if one of its cells is wanted;
                what is said of the others means nothing.
        """
        g = writer.conductance()
        if not g.numel():
            return g
        self._pay(writer, wanted)
        if self._offset is None and not self._step:
            white = self._drawn(self._sigma / math.sqrt(self.scheme.reads), self._coded_like(g))
            return g if white is None else g + self._decoded(white, g)
        lines = self._coded(g)
        if self._offset is not None:
            lines = lines + self._offset.unsqueeze(1)
        total = torch.zeros_like(lines)
        for _ in range(self.scheme.reads):
            white = self._drawn(self._sigma, lines)
            shown = lines if white is None else lines + white
            total += (shown / self._step).round() * self._step if self._step else shown
        return self._decoded(total / self.scheme.reads, g)

    # ── the code ─────────────────────────────────────────────────────────────────────────────

    def _coded_like(self, g: Tensor) -> Tensor:
        arrays, _, cols = as_arrays(g).shape
        size = len(self._code)
        return g.new_empty(()).expand(arrays, self._groups, size, cols) if size > 1 else g

    def _grouped(self, x: Tensor) -> Tensor:
        # [arrays, groups, N, cols]; where rows end within a group, no cell.
        arrays = as_arrays(x)
        missing = self._groups * len(self._code) - arrays.shape[1]
        if missing:
            arrays = torch.nn.functional.pad(arrays, (0, 0, 0, missing))
        return arrays.unflatten(1, (self._groups, len(self._code)))

    def _coded(self, g: Tensor) -> Tensor:
        """Return what bit lines show of patterns ``[arrays, groups, N, cols]`` (S)."""
        return self._code @ self._grouped(g)

    def _decoded(self, lines: Tensor, like: Tensor) -> Tensor:
        if len(self._code) == 1:
            return lines.reshape(like.shape)
        cells = (self._code.mT / len(self._code)) @ lines
        rows = as_arrays(like).shape[1]
        return cells.flatten(1, 2)[:, :rows].reshape(like.shape)

    def _drawn(self, deviation: float, like: Tensor) -> Tensor | None:
        if not deviation:
            return None
        drawn = torch.empty(like.shape, dtype=like.dtype, device=like.device)
        return drawn.normal_(generator=self._generator).mul_(deviation)

    # ── what it costs ────────────────────────────────────────────────────────────────────────

    def _pay(self, writer: Writer, wanted: Tensor) -> None:
        scheme, size = self.scheme, len(self._code)
        groups = wanted if size == 1 else self._grouped(wanted).any(2)
        repeats = scheme.reads * size
        self.reads += repeats * int(groups.sum())
        self.time += repeats * access.serial(groups, scheme.order) * scheme.read_time
        v = scheme.read_voltage
        if not (v and scheme.read_time):
            return
        power = v * writer.current(v)
        if size == 1:
            total = torch.where(wanted, power, 0.0).sum(dtype=torch.float64)
        else:
            # Every cell of a group conducts in all of its reads, with +v or with -v.
            plus = (self._code > 0).sum(0).to(power).unsqueeze(1)
            minus = self._grouped(-v * writer.current(-v)) * (size - plus)
            driven = (self._grouped(power) * plus + minus).sum(2)
            total = torch.where(groups, driven, 0.0).sum(dtype=torch.float64)
        self.energy += scheme.reads * scheme.read_time * float(total)
