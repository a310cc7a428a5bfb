"""Saving and loading what an in-situ optimizer holds on cells."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mho.core import checks
from mho.core.spec import first_difference
from mho.train.on_cells.parameter import HeldParameter
from mho.train.on_cells.weights import WeightCells

Held = Mapping[Tensor, HeldParameter]
Names = Mapping[Tensor, str]

_SAME = 1e-6  # of steps that differ by rounding


def _numbers(names: Names) -> dict[Tensor, int]:
    # As torch counts parameters in a state_dict.
    return {parameter: number for number, parameter in enumerate(names)}


def identity(held: Held, names: Names) -> dict[str, Any]:
    """Return, as plain values, what a checkpoint must agree on: shapes, devices, layouts."""
    numbers = _numbers(names)
    return identity_of(
        {str(numbers[p]): (list(p.shape), one.weights) for p, one in held.items()},
    )


def identity_of(held: Mapping[str, tuple[list[int], WeightCells]]) -> dict[str, Any]:
    """As `identity`, of cells by name, each with the shape of what they hold."""
    # Devices with tables are large, and mostly the same.
    devices = list(dict.fromkeys(weights.device for _, weights in held.values()))
    cells = {
        name: {
            "shape": shape,
            "device": devices.index(weights.device),
            "layout": weights.layout.to_dict(),
            "range": [weights.low, weights.high],
            "steps": list(weights.steps),
            "endurance": weights.endurance,
        }
        for name, (shape, weights) in held.items()
    }
    return {"devices": [device.to_dict() for device in devices], "cells": cells}


def cells_of(held: Held, names: Names) -> dict[int, dict[str, Any]]:
    """Return copies of all that cells are and hold, by the number of their parameter."""
    numbers = _numbers(names)
    return {
        numbers[parameter]: copy.deepcopy(dict(one.state_dict())) for parameter, one in held.items()
    }


def checked(state: Mapping[str, Any], expected: dict[str, Any]) -> Mapping[str, Any]:
    """Return a checkpoint's own part, or refuse it (ValueError)."""
    checks.instance("state_dict", state, Mapping)
    mine = state.get("in_situ")
    if not isinstance(mine, Mapping) or not {"is", "cells", "updates"} <= mine.keys():
        raise ValueError("state_dict must hold 'in_situ', as InSitu.state_dict() gives it")
    refuse_other(expected, mine["is"])
    return mine


def refuse_other(expected: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse the identity of a checkpoint that is not the expected one (ValueError)."""
    (wanted, steps), (found, theirs) = _parted(expected), _parted(given)
    difference = first_difference(wanted, found)
    if difference:
        raise ValueError(f"this checkpoint does not fit the optimizer: {difference}")
    for number, step in steps.items():
        if not all(
            math.isclose(*pair, rel_tol=_SAME) for pair in zip(step, theirs[number], strict=True)
        ):
            raise ValueError(
                f"this checkpoint takes a pulse of parameter {number} for other changes, up and "
                f"down: {theirs[number]}, here {step}. To go on as it was, give "
                f"granularity={theirs[number]}. (mho 0.1 took means over sweeps through the window "
                "or over the window; a pulse is now worth the cells' step at mid-window)"
            )


def _parted(identity: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, tuple[float, ...]]]:
    # What must be equal, and the steps of a pulse, which are computed.
    steps, cells = {}, {}
    for number, one in identity["cells"].items():
        cells[number] = {name: value for name, value in one.items() if name != "steps"}
        steps[number] = tuple(one["steps"])
    devices = dict(enumerate(identity["devices"]))  # of which the field that differs is named
    return {**identity, "devices": devices, "cells": cells}, steps


def take_back(held: Held, names: Names, cells: Mapping[int, dict[str, Tensor]]) -> None:
    """Load what `cells_of` gave."""
    numbers = _numbers(names)
    for parameter, one in held.items():
        one.load_state_dict(cells[numbers[parameter]])
