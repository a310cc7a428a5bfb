# ruff: noqa: N999
"""Device faults, and resistances that differ from cycle to cycle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from mho.compat._common import real, require
from mho.compat.memtorch.bh.nonideality._layers import change, crossbars, resistance, window
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

    Proportions are those of devices stuck at their low and at their high resistance, and of those
    that failed to electroform. The layer is changed in place.

    Raises:
        Refused: if a proportion is outside [0, 1] or they add up to more than 1.
    """
    given = {"lrs": lrs_proportion, "hrs": hrs_proportion, "electroform": electroform_proportion}
    low, high, unformed = (
        real(f"{name}_proportion", value, least=0.0, most=1.0) for name, value in given.items()
    )
    total = low + high + unformed
    require(total <= 1 + 1e-9, f"the proportions must add up to at most 1, got {total:g}")
    for crossbar in crossbars(layer):
        g = crossbar.conductance_matrix.detach().clone()
        lowest, highest = window(crossbar, g)
        order = torch.randperm(g.numel()).argsort().view_as(g).to(g.device)
        at_lrs, at_hrs = round(low * g.numel()), round((high + unformed) * g.numel())
        broken = order < at_lrs + at_hrs
        # Those that were stuck before stay where they are.
        stuck = torch.zeros_like(broken) if crossbar.stuck is None else crossbar.stuck
        ends = torch.where(order < at_lrs, highest, lowest)
        crossbar.stuck = stuck | broken
        crossbar.conductance_matrix = torch.where(broken & ~stuck, ends, g)
        crossbar.update(from_devices=False)
    return layer


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
    infinite, after clamping to ``min`` and ``max``, in Ω) counts as the crossbar's mean. The layer
    is changed in place.

    Args:
        layer: a memristive layer.
        distribution: a class of ``torch.distributions``.
        min: smallest resistance (Ω).
        max: largest resistance (Ω).
        parallelize: has no effect.
        r_off_kwargs: the distribution's parameters for ``r_off``.
        r_on_kwargs: the distribution's parameters for ``r_on``.

    Raises:
        Refused: if the distribution is none, or a parameter of it is missing or unknown.
    """
    least, most = float(min), float(max)
    require(least <= most, f"min must be <= max, got {min!r} and {max!r}")
    given = {"r_off": r_off_kwargs, "r_on": r_on_kwargs}
    drawn_from = {n: made(distribution, more, f"{n}_kwargs: ") for n, more in given.items()}
    for crossbar in crossbars(layer):
        for name, source in drawn_from.items():
            drawn = source.sample(crossbar.conductance_matrix.shape).clamp(least, most)
            _set(crossbar, name, drawn)
            _set(crossbar, name, resistance(crossbar, name))

    def within(crossbar: Any, g: Tensor) -> Tensor:
        low, high = window(crossbar, g)
        return torch.maximum(torch.minimum(g, high), low)

    return change(layer, within)


def _set(crossbar: Any, name: str, values: Tensor) -> None:
    """Give every cell a new ``r_on`` or ``r_off`` (Ω)."""
    if not crossbar.per_device:
        crossbar.parameters[name] = values.to(crossbar.conductance_matrix)
        return
    for device, value in zip(crossbar.devices.flat, values.flatten().tolist(), strict=True):
        setattr(device, name, value)
