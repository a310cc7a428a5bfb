"""Charges of a linear array whose word lines are driven by pulses, and then left floating.

Lines that rest at a fixed voltage need nothing of this: charges are then ``Σ t V @ T``, whatever
the order in which pulses end. A line that is cut off takes a voltage that the array gives it, and
each end of a pulse makes another circuit. With ``Y`` the conductances between drivers (currents of
drivers are ``Y V``) the lines ``F`` that are cut off, and those ``A`` that are driven, have

    Y_FF V_F + Y_FA V_A = 0

Pulses end in one order, so that the sets ``F`` are nested. With the lines in that order, first
ended first, and ``Y = L L^T`` (Cholesky), ``L_FF`` is a leading block of ``L`` for all of them, and

    L_FF^T V_F = -L_AF^T V_A

so that the integral of all voltages over time is one triangular system, of right sides

    b_r = Σ_{a > r} L_ar V_a (t_a - t_r)

exact for any number of different ends, at the price of one factorisation a vector.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mho.circuit.solver import solve
from mho.circuit.wires import Wires

_VALUES_AT_ONCE = 1 << 20
"""Entries of cells, or of matrices between drivers, worked on together, in float64: 8 MB."""


def ports(G: Tensor, wires: Wires) -> tuple[Tensor, Tensor]:
    """Return what arrays are to their drivers and sinks.

    Args:
        G: conductances ``[..., m, n]`` [S].
        wires: of the arrays; driven from one end.

    Returns:
        Conductances between drivers ``Y [..., m, m]``, whose products with driver voltages are the
        drivers' currents, and from drivers to sinks ``T [..., m, n]`` [S], in float64.

    Raises:
        ValueError: for lines driven from both ends: cut off, these are two ends each.
    """
    if wires.drive == "both":
        raise ValueError(
            "Wires drive must be 'left' or 'right' where lines float between pulses, got 'both'"
        )
    m, n = G.shape[-2:]
    arrays = G.detach().double().reshape(-1, m, n)
    eye = torch.eye(m, dtype=torch.float64, device=G.device)
    between, through = [], []
    for part in arrays.split(max(1, _VALUES_AT_ONCE // (m * m * n))):
        if not bool(part.any()):
            between.append(part.new_zeros(len(part), m, m))
            through.append(part)
            continue
        found = solve(part, wires, eye)
        between.append(found.cell_currents.sum(-1))
        through.append(found.currents)
    Y = torch.cat(between).reshape(*G.shape[:-2], m, m)
    return (Y + Y.mT) / 2, torch.cat(through).reshape(*G.shape[:-2], m, n)


def mean_voltages(Y: Tensor, volts: Tensor, times: Tensor) -> Tensor:
    """Return the integrals of driver voltages over time of lines that float after their pulses.

    Args:
        Y: conductances between drivers ``[..., m, m]``, as `ports` returns them (S).
        volts: of the pulses ``[..., vectors, m]`` (V).
        times: at which they end, likewise, >= 0; all begin at 0 (s, or any other unit).

    Returns:
        ``[..., vectors, m]`` (V s), differentiable in ``volts`` and ``times``. Times ``T`` these
        are the charges into the sinks.
    """
    batch = max(1, _VALUES_AT_ONCE // max(Y.numel(), 1))
    pairs = zip(volts.split(batch, dim=-2), times.split(batch, dim=-2), strict=True)
    return torch.cat([_integrals(Y, v, t) for v, t in pairs], dim=-2)


def _integrals(Y: Tensor, volts: Tensor, times: Tensor) -> Tensor:
    m = Y.shape[-1]
    lead = torch.broadcast_shapes(Y.shape[:-2], volts.shape[:-2])
    count = volts.shape[-2]
    volts, times = (x.to(Y).expand(*lead, count, m) for x in (volts, times))
    # A line that nothing hangs on takes any voltage, and brings no current.
    alone = torch.diagonal(Y, dim1=-2, dim2=-1) <= 0
    whole = (Y + torch.diag_embed(alone.to(Y))).unsqueeze(-3).expand(*lead, count, m, m)
    order = times.argsort(-1)
    rows = whole.gather(-2, order.unsqueeze(-1).expand(*order.shape, m))
    sorted_ = rows.gather(-1, order.unsqueeze(-2).expand_as(rows))
    factor = torch.linalg.cholesky(sorted_)
    upper = factor.tril(-1).mT
    t, v = (x.gather(-1, order).unsqueeze(-1) for x in (times, volts))
    right = upper @ (v * t) - t * (upper @ v)
    floating = torch.linalg.solve_triangular(factor.mT, right, upper=True)
    integral = (v * t - floating).squeeze(-1)
    return torch.zeros_like(integral).scatter(-1, order, integral)
