"""White noise of cells on wires, drawn at the outputs.

A cell whose conductance is off by ``δg`` carries ``u δg`` more current, ``u`` being the voltage
across it; of that a sensed line sees the share ``w``, which by reciprocity is the voltage across
the cell while that line is driven by 1 V instead and every driver is at 0 V. To first order

    Var I_j(v) = Σ_c u_c(v)² w_c(j)² σ_c² = v^T Q_j v,      u linear in v,

a sum over all cells ``c`` of the array. ``Q_j`` is a diagonal and a smooth rest: voltage drops add
up along lines, so what two different inputs do together hardly depends on which two. The diagonal
is kept, and of the rest the part that a few smooth inputs ``Z`` (`PROBES` halves of the lines, each
at one voltage) see:

    Q ≈ S + (R Z) (Z^T R Z)^-1 (R Z)^T,     diag S + diag(second term) = diag Q,   R = Q - S

so a read costs one product with ``v²`` and one with ``v`` for each probe. It is exact for bare
cells, for one driven line, and (but where the second term is cut to the diagonal) for inputs in
the span of ``Z``. Measured at mean attenuations from 0.5 to 0.7 (uniform cells, and half of them at
the lowest conductance; 16 to 128 lines), standard deviations are off by at most 0.5 % (rms over
columns) for inputs of random sign and for positive ones, and by 1 % for ramps and blocks of lines;
worse where wires leave less than a third of a current, or where cells of one column differ by
decades and few of its lines are driven.

What is left out: second order in ``δg``, and that columns of one array share a little of their
noise through their word lines.

It is prepared once per change of the cells, from all cell voltages under one driver or one sink
alone: some 25 times the cost of the effective conductances (a second for 128 by 128 cells).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mho.circuit.grid import turn_cells
from mho.circuit.merge import cell_currents
from mho.circuit.problem import arrays, terminals
from mho.circuit.wires import Wires

PROBES = 3
"""Smooth inputs, whose noise is exact."""

_SWEEPS = 12  # of the fixed point in which a diagonal and its rest agree
_CELLS_AT_ONCE = 1 << 22  # cells times vectors, in float64
_FEWEST_VECTORS = 64


@dataclass(frozen=True)
class NoiseForm:
    """The variance of outputs as a form in their inputs: ``v² @ S + Σ_k sign_k (v @ F_k)²``.

    Args:
        diagonal: ``S [..., inputs, outputs]``.
        factors: ``F [probes, ..., inputs, outputs]``.
        signs: of the squares, 1, -1 or 0 ``[probes, ..., outputs]``.
    """

    diagonal: Tensor
    factors: Tensor
    signs: Tensor

    def scaled(self, unit: Tensor | float) -> NoiseForm:
        """Return the form of outputs that are ``unit`` times as large, one or ``[outputs]``."""
        return NoiseForm(self.diagonal * unit**2, self.factors * unit, self.signs)

    def to(self, like: Tensor) -> NoiseForm:
        """Return the form in the dtype and on the device of a tensor."""
        return NoiseForm(self.diagonal.to(like), self.factors.to(like), self.signs.to(like))

    def variance(self, v: Tensor) -> Tensor:
        """Return the variance ``[..., vectors, outputs]`` for inputs ``[..., vectors, inputs]``."""
        total = v.square() @ self.diagonal
        for factor, sign in zip(self.factors, self.signs, strict=True):
            through = v @ factor
            total = total.addcmul_(through * sign.unsqueeze(-2), through)
        return total.clamp_(min=0.0)


def noise_moments(
    G: Tensor, variance: Tensor, wires: Wires, sense: Tensor, *, transposed: bool = False
) -> Tensor:
    """Return what is to be known of ``Q``: its diagonal, and ``Q z`` for every probe ``z``.

    Moments add up as variances do: those of two independent arrays that drive one converter are
    their sum.

    Args:
        G: conductances ``[N, m, n]`` [S].
        variance: of each cell ``[N, m, n]`` [S²].
        wires: line resistances and which ends are used.
        sense: what each output adds up of the bit lines' currents ``[outputs, n]``.
        transposed: drive the bit lines and sense the word lines instead; ``sense`` then says what
            each input drives.

    Returns:
        ``[N, 1 + probes, inputs, outputs]`` [S²], float64.
    """
    count, m, n = G.shape
    size = max(1, _CELLS_AT_ONCE // (m * n * (m + len(sense))))
    parts = [slice(start, start + size) for start in range(0, count, size)]
    found = [_moments(G[p], variance[p], wires, sense, transposed) for p in parts]
    return torch.cat(found)


@torch.no_grad()
def _moments(G: Tensor, variance: Tensor, wires: Wires, sense: Tensor, transposed: bool) -> Tensor:
    words, bits = voltages_across(G, wires, sense.to(torch.float64))
    across, seen = (bits, words) if transposed else (words, bits)
    largest = variance.max().double()
    unit = torch.where(largest > 0, largest, 1.0)
    # [N, outputs, cells]
    weight = seen.square().mul_((variance.double() / unit).to(seen)[:, None]).flatten(2)
    across = across.flatten(2)
    diagonal = weight @ across.square().mT
    smooth = [z @ across for z in probes(across.shape[1], like=across)]
    images = [(weight * z[:, None]) @ across.mT for z in smooth]
    return torch.stack([diagonal, *images], 1).mT.double() * unit


def voltages_across(G: Tensor, wires: Wires, sense: Tensor) -> tuple[Tensor, Tensor]:
    """Voltages across cells with 1 V on each word line; and with ``sense`` on the bit lines."""
    m, n = G.shape[-2:]
    if not bool(G.any()):  # no currents, no drops
        eye = torch.eye(m, dtype=sense.dtype, device=sense.device)
        words = eye[:, :, None].expand(len(G), -1, -1, n)
        return words, sense[:, None].expand(len(G), -1, m, -1)
    grid = arrays(G, wires, dict.fromkeys(("source", "word", "bit", "sense")))
    drivers = sense.new_zeros(m + len(sense), m)
    sinks = sense.new_zeros(m + len(sense), n)
    drivers[:m].fill_diagonal_(1.0)
    sinks[m:] = -sense
    # A large tile a few vectors at a time, and kept in single precision.
    size = max(_FEWEST_VECTORS, _CELLS_AT_ONCE // (len(G) * m * n))
    kept = torch.float64 if size >= len(drivers) else torch.float32
    found = []
    for driven, held in zip(drivers.split(size), sinks.split(size), strict=True):
        ends = terminals(G, wires, driven, held)
        currents = cell_currents(grid, ends.drivers, ends.sinks)
        voltages = ends.across - grid.word_drop(currents) - grid.bit_rise(currents)
        found.append(turn_cells(voltages, wires).to(kept))
    words, bits = torch.cat(found, 1).split([m, len(sense)], 1)
    return words, bits


def probes(lines: int, like: Tensor) -> Tensor:
    """Return smooth inputs ``[probes, lines]``: equal runs of lines at 1 V, the others at 0 V."""
    place = torch.arange(lines, device=like.device) * PROBES // max(lines, PROBES)
    return (place == torch.arange(PROBES, device=like.device)[:, None]).to(like)


def noise_form(moments: Tensor) -> NoiseForm:
    """Return the form that `noise_moments`, added up over independent arrays, tell of.

    Args:
        moments: ``[..., 1 + probes, inputs, outputs]``.
    """
    diagonal, images = moments.select(-3, 0), moments.narrow(-3, 1, PROBES)
    z = probes(diagonal.shape[-2], like=diagonal)
    # [..., outputs, inputs] and [..., outputs, inputs, probes]
    diagonal, images = diagonal.mT, images.movedim(-3, -1).transpose(-3, -2)
    scale = diagonal.amax(-1, keepdim=True)
    scale = torch.where(scale > 0, scale, 1.0)
    diagonal, images = diagonal / scale, images / scale[..., None]
    own = torch.zeros_like(diagonal)
    for _ in range(_SWEEPS):
        image = images + (own - diagonal)[..., None] * z.mT
        small = z @ image
        value, vector = torch.linalg.eigh((small + small.mT) / 2)
        strong = value.abs() > 1e-3 * value.abs().amax(-1, keepdim=True)
        through = image @ vector * torch.where(strong, value.abs(), torch.inf).rsqrt()[..., None, :]
        sign = torch.where(strong, value.sign(), 0.0)
        # The rest of a line is no more than its diagonal: |Q_ik|² <= Q_ii Q_kk.
        squares = through.square()
        share = (diagonal / squares.sum(-1).clamp(min=1e-300)).clamp(max=1.0)
        own = (squares * sign[..., None, :]).sum(-1) * share
        through = through * share.sqrt()[..., None]
    kept = ((diagonal - own) * scale).mT
    factors = (through * scale.sqrt()[..., None]).movedim(-1, 0).mT
    return NoiseForm(kept, factors, sign.movedim(-1, 0))
