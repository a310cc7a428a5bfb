"""Saving and loading what an in-situ optimizer holds on cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mho.core.spec import first_difference
from mho.train.on_cells.parameter import HeldParameter

Held = Mapping[Tensor, HeldParameter]
Names = Mapping[Tensor, str]


def _numbers(names: Names) -> dict[Tensor, int]:
    # As torch counts parameters in a state_dict.
    return {parameter: number for number, parameter in enumerate(names)}


def identity(held: Held, names: Names) -> dict[str, Any]:
    """Return, as plain values, what a checkpoint must agree on: shapes, devices, layouts."""
    numbers = _numbers(names)
    # Devices with tables are large, and mostly the same.
    devices = list(dict.fromkeys(one.weights.device for one in held.values()))
    cells = {
        str(numbers[parameter]): {
            "shape": list(parameter.shape),
            "device": devices.index(one.weights.device),
            "layout": one.weights.layout.to_dict(),
            "range": [one.weights.low, one.weights.high],
            "steps": list(one.weights.steps),
            "endurance": one.weights.endurance,
        }
        for parameter, one in held.items()
    }
    return {"devices": [device.to_dict() for device in devices], "cells": cells}


def cells_of(held: Held, names: Names) -> dict[int, dict[str, Tensor]]:
    """Return copies of all cells' tensors, by the number of their parameter."""
    numbers = _numbers(names)
    return {
        numbers[parameter]: {name: value.clone() for name, value in one.state_dict().items()}
        for parameter, one in held.items()
    }


def checked(state: Mapping[str, Any], expected: dict[str, Any]) -> Mapping[str, Any]:
    """Return a checkpoint's own part, or refuse it (ValueError)."""
    mine = state.get("in_situ")
    if not isinstance(mine, Mapping):
        raise ValueError("state_dict must hold 'in_situ', as InSitu.state_dict() gives it")
    difference = first_difference(expected, mine["is"])
    if difference:
        raise ValueError(f"this checkpoint does not fit the optimizer: {difference}")
    return mine


def take_back(held: Held, names: Names, cells: Mapping[int, dict[str, Tensor]]) -> None:
    """Load what `cells_of` gave."""
    numbers = _numbers(names)
    for parameter, one in held.items():
        one.load_state_dict(cells[numbers[parameter]])
