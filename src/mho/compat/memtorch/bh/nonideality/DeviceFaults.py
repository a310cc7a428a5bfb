# ruff: noqa: N999
"""Device faults, and resistances that differ from cycle to cycle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.distributions import Distribution

from mho.compat.memtorch._numbers import real
from mho.compat.memtorch._require import require
from mho.compat.memtorch.bh.nonideality._layers import (
    crossbars,
    free,
    resistance,
    set_resistance,
    store,
)
from mho.compat.memtorch.bh.StochasticParameter import made

__all__ = ["apply_cycle_variability", "apply_device_faults"]


def apply_device_faults(
    layer: Any, lrs_proportion: float, hrs_proportion: float, electroform_proportion: float
) -> Any:
    """Let proportions of a layer's devices fail.

    Of every crossbar exactly these proportions (rounded to whole devices), chosen at random, get
    stuck: no device fails twice. Devices that fail to electroform stay in the high-resistance
    state. All cells of a tile are devices, those no weight uses, too. Stuck devices stay as they
    are, whatever is applied or written later.

    Args:
        layer: a memristive layer.
        lrs_proportion: stuck at their low resistance, in [0, 1].
        hrs_proportion: stuck at their high resistance, in [0, 1].
        electroform_proportion: failed to electroform, in [0, 1].

    Returns:
        The layer, changed in place.

    Raises:
        ValueError: if a proportion is outside [0, 1] or they add up to more than 1.
    """
    given = {
        "lrs_proportion": lrs_proportion,
        "hrs_proportion": hrs_proportion,
        "electroform_proportion": electroform_proportion,
    }
    low, high, unformed = (real(name, v, least=0.0, most=1.0) for name, v in given.items())
    total = low + high + unformed
    require(total <= 1 + 1e-9, f"the proportions must add up to at most 1, got {total:g}")
    for crossbar in crossbars(layer):
        _fail(crossbar, low, high + unformed)
    return layer


def _fail(crossbar: Any, at_lrs: float, at_hrs: float) -> None:
    g = crossbar.conductance_matrix.detach().clone()
    flat, broken = g.flatten(), torch.zeros(g.numel(), dtype=torch.bool, device=g.device)
    order = torch.randperm(len(flat)).to(g.device)
    low, high = round(at_lrs * len(order)), round(at_hrs * len(order))
    for name, chosen in (("r_on", order[:low]), ("r_off", order[low : low + high])):
        flat[chosen] = (1 / resistance(crossbar, name).flatten()[chosen]).to(flat)
        broken[chosen] = True
    broken = broken.view_as(g)
    # Those that were stuck before stay where they are.
    stuck = crossbar.stuck
    changed = flat.view_as(g) if stuck is None else torch.where(stuck, g, flat.view_as(g))
    crossbar.stuck = broken if stuck is None else stuck | broken
    store(crossbar, changed)


def apply_cycle_variability(
    layer: Any,
    distribution: type[Distribution] = torch.distributions.normal.Normal,
    min: float = 0,
    max: float = float("inf"),
    parallelize: bool = False,
    r_off_kwargs: Mapping[str, Any] = {},
    r_on_kwargs: Mapping[str, Any] = {},
) -> Any:
    """Draw every device's resistances anew, as after another cycle of switching.

    Conductances stay, as far as the new resistances allow. A drawn resistance that is none (0 or
    infinite, after clamping to the bounds) counts as the crossbar's mean.

    Args:
        layer: a memristive layer.
        distribution: a class of ``torch.distributions``.
        min: smallest resistance (Ω).
        max: largest resistance (Ω).
        parallelize: has no effect: all devices are drawn at once.
        r_off_kwargs: the distribution's parameters for ``r_off``.
        r_on_kwargs: the distribution's parameters for ``r_on``.

    Returns:
        The layer, changed in place.

    Raises:
        ValueError: if the distribution is none, or a parameter of it is missing or unknown.
    """
    least, most = float(min), float(max)
    require(least <= most, f"min must be <= max, got {min!r} and {max!r}")
    drawn_from = {
        "r_off": made(distribution, r_off_kwargs, "r_off_kwargs: "),
        "r_on": made(distribution, r_on_kwargs, "r_on_kwargs: "),
    }
    for crossbar in crossbars(layer):
        g = crossbar.conductance_matrix.detach().clone()
        for name, source in drawn_from.items():
            set_resistance(crossbar, name, source.sample(g.shape).clamp(least, most).to(g))
            set_resistance(crossbar, name, resistance(crossbar, name))
        low, high = ((1 / resistance(crossbar, name)).to(g) for name in ("r_off", "r_on"))
        inside = torch.maximum(torch.minimum(g, high), low)
        store(crossbar, torch.where(free(crossbar), inside, g))
    return layer
