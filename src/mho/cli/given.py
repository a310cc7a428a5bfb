"""What a command is given: a device, a hardware, a model of one's own."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mho.analysis import ChipArchitecture, chips
from mho.cells.device import Device
from mho.core import files
from mho.core.spec import Spec
from mho.devices import presets
from mho.hardware import Hardware


class Task(NamedTuple):
    """A trained classifier and the data it is tested on.

    Attributes:
        model: digital.
        inputs: to test with, ``[samples, ...]``.
        labels: their classes, ``[samples]``.
        calibration: inputs to calibrate with.
    """

    model: nn.Module
    inputs: Tensor
    labels: Tensor
    calibration: Tensor


def device(text: str) -> Device:
    """Return the device of a YAML file or of a preset's name.

    Raises:
        FileNotFoundError, TypeError, ValueError: if it is neither.
    """
    found = _spec(text)
    if not isinstance(found, Device):
        raise TypeError(f"{text} must describe a device, it is a {type(found).__name__}")
    return found


def device_or_hardware(text: str) -> Device | Hardware:
    """Return the device or hardware of a YAML file, or the device of a preset's name.

    Raises:
        FileNotFoundError, TypeError, ValueError: if it is none.
    """
    found = _spec(text)
    if not isinstance(found, (Device, Hardware)):
        raise TypeError(
            f"{text} must describe a device or a hardware, it is a {type(found).__name__}"
        )
    return found


def architecture(text: str) -> ChipArchitecture:
    """Return the architecture of a YAML file or of a published chip's name.

    Raises:
        FileNotFoundError, TypeError, ValueError: if it is neither.
    """
    if not Path(text).suffix and not Path(text).exists():
        try:
            return chips.get(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is no file, and there is {error}") from None
    return files.load(text, ChipArchitecture)


def _spec(text: str) -> Spec:
    if not Path(text).suffix and not Path(text).exists():
        try:
            return presets.get(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is no file, and there is {error}") from None
    return files.load(text, Spec)


def task(text: str) -> Task:
    """Return what a user's function ``module:function`` gives, the folder of work searched first.

    The function takes nothing and returns ``(model, inputs, labels, calibration)``, see `Task`.

    Raises:
        ImportError: if there is no such module or function.
        TypeError, ValueError: if it gives something else.
    """
    module, _, function = text.partition(":")
    if not module or not function:
        raise ValueError(f"a model is given as module:function, got {text!r}")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    make: Any = getattr(importlib.import_module(module), function, None)
    if not callable(make):
        raise ImportError(f"module {module!r} has no function {function!r}")
    made = make()
    if not isinstance(made, (tuple, list)) or len(made) != len(Task._fields):
        raise TypeError(
            f"{text} must return (model, inputs, labels, calibration), got "
            f"{type(made).__name__}{f' of {len(made)}' if hasattr(made, '__len__') else ''}"
        )
    model, inputs, labels, calibration = made
    if not isinstance(model, nn.Module):
        raise TypeError(f"{text}: model must be a torch.nn.Module, got {type(model).__name__}")
    tensors = [torch.as_tensor(x) for x in (inputs, labels, calibration)]
    if len(tensors[0]) != len(tensors[1]):
        raise ValueError(
            f"{text}: inputs and labels must be as many, got {len(tensors[0])} and "
            f"{len(tensors[1])}"
        )
    return Task(model.eval(), *tensors)
