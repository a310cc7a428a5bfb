"""What a command is given: a device, a hardware, a model of one's own."""

from __future__ import annotations

import importlib
import sys
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mho.analysis import ChipArchitecture, chips
from mho.analysis.timing import Levels
from mho.cells.device import Device
from mho.core import files, random
from mho.core.spec import Spec
from mho.devices import presets
from mho.hardware import Array, Hardware
from mho.model.inputs import batches_of
from mho.model.scoring import outputs_of, paired
from mho.periphery import ADC, DAC

_CALIBRATION = 100


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


def hardware(
    text: str,
    array: Array,
    bits: int | None,
    option: str,
    *,
    dac: int | None = None,
    mode: str = "amplitude",
) -> Hardware:
    """Return the hardware of a YAML file; a device of one, or of a preset's name, is put on arrays.

    Args:
        text: the file's path or the preset's name.
        array: for a device alone.
        bits: of the ADCs around a device; 0: exact reads; 8 if not given.
        option: by which they are given, for the error.
        dac: bits of the DACs; as many as the ADCs' if not given.
        mode: of the DACs.

    Raises:
        FileNotFoundError, TypeError: if it is none.
        ValueError: if it is none, or bits are given for a hardware, which has its own converters.
    """
    found = _spec(text)
    if isinstance(found, Hardware):
        if bits is not None:
            raise ValueError(
                f"{text} is a whole hardware, with its own converters: leave out {option}"
            )
        return found
    if not isinstance(found, Device):
        raise TypeError(
            f"{text} must describe a device or a hardware, it is a {type(found).__name__}"
        )
    bits = 8 if bits is None else bits
    if bits == 0:
        return Hardware(device=found, array=array)
    drivers, readers = DAC(bits if dac is None else dac, mode=mode), ADC(bits)
    return Hardware(device=found, array=array, dac=drivers, adc=readers)


def on_chip(
    text: str, chip: ChipArchitecture | None, bits: int | None = None, option: str = "bits"
) -> Hardware:
    """Return the hardware of a file; a device is put on a chip's arrays, driven as the chip does.

    Args:
        text: the file's path or the preset's name.
        chip: whose arrays a device lies on; None: on arrays of the usual size.
        bits: of the converters around a device; 8 if not given.
        option: by which they are given, for the error.

    Raises:
        FileNotFoundError, TypeError, ValueError: as `hardware`.
    """
    rows, cols = (None, None) if chip is None else (chip.rows, chip.cols)
    serial = chip is not None and isinstance(chip.timing, Levels) and chip.timing.bit_serial
    mode = "bit_serial" if serial else "amplitude"
    return hardware(text, Array(rows or 128, cols or 128), bits, option, mode=mode)


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


def tasks(model: str | None, seed: int) -> dict[str, Task]:
    """Return what is to be tested, by name: a user's network, or the two of the digits.

    Args:
        model: ``module:function``, see `task`; None: the networks of the demo, trained here.
        seed: of their weights and of the order of training.
    """
    return digits_tasks(seed) if model is None else {model: task(model)}


def digits_tasks(seed: int, names: Collection[str] | None = None) -> dict[str, Task]:
    """Return the demo's networks (all if not named), trained on scikit-learn's digits, by name."""
    # Imported here: the data are an extra, and one's own model needs none of it.
    from mho.demo.data import digits
    from mho.demo.models import MODELS, build
    from mho.demo.train import train

    data = digits(random.derive(seed, "data"))
    found = {}
    for name in MODELS if names is None else names:
        network = build(name, random.derive(seed, name, "weights"))
        train(network, data, epochs=25, seed=random.derive(seed, name, "order"), label=name)
        calibration = data.train_x[:_CALIBRATION]
        found[f"digits {name}"] = Task(network, data.test_x, data.test_y, calibration)
    return found


def task(text: str, folder: Path | None = None) -> Task:
    """Return what a user's function ``module:function`` gives.

    The function takes nothing and returns ``(model, inputs, labels, calibration)``, see `Task`.

    Args:
        text: how it is written.
        folder: searched for the module before the folder of work, if given.

    Raises:
        ImportError: if there is no such module or function.
        TypeError, ValueError: if it gives something else.
    """
    return as_task(text, called(text, folder))


def called(text: str, folder: Path | None = None) -> Any:
    """Call a user's function ``module:function`` that takes nothing; return what it returns.

    Args:
        text: how it is written.
        folder: searched for the module before the folder of work, if given.

    Raises:
        ImportError: if there is no such module or function.
        ValueError: if it is not so written.
    """
    module, _, function = text.partition(":")
    if not module or not function:
        raise ValueError(f"a function is given as module:function, got {text!r}")
    if module.endswith(".py") or "/" in module:
        raise ValueError(
            f"a module is given by its name, not as a file: {Path(module).stem}:{function} in "
            f"{Path(module).parent.absolute()}, got {text!r}"
        )
    for place in (Path.cwd(), *([] if folder is None else [folder.absolute()])):
        if str(place) not in sys.path:
            sys.path.insert(0, str(place))
    make: Any = getattr(_imported(module), function, None)
    if not callable(make):
        raise ImportError(f"module {module!r} has no function {function!r}")
    return make()


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise  # of what the module itself imports
        raise ImportError(
            f"there is no module {module!r} in the folder {Path.cwd()}, nor among those installed"
        ) from None


def as_task(text: str, made: Any) -> Task:
    """Check what a user's function returned.

    Args:
        text: by which it was called.
        made: what it returned.

    Raises:
        TypeError, ValueError: if it is no task.
    """
    if not isinstance(made, (tuple, list)) or len(made) != len(Task._fields):
        raise TypeError(
            f"{text} must return (model, inputs, labels, calibration), got "
            f"{type(made).__name__}{f' of {len(made)}' if hasattr(made, '__len__') else ''}"
        )
    model, inputs, labels, calibration = made
    if not isinstance(model, nn.Module):
        raise TypeError(f"{text}: model must be a torch.nn.Module, got {type(model).__name__}")
    with _naming(text):
        data = paired(model, inputs, labels)
        outputs_of(model.eval(), data[0][:1])  # does it take them?
        return Task(model, *data, _calibration(model, calibration))


def _calibration(model: nn.Module, inputs: Any) -> Tensor:
    batches = batches_of(inputs, model)
    if not all(isinstance(batch, Tensor) for batch in batches):
        raise TypeError(f"calibration must be batches of numbers, got {type(batches[0]).__name__}")
    return torch.cat(batches)


def data(text: str, model: nn.Module) -> tuple[Tensor, Tensor]:
    """Return inputs and labels of an ``.npz`` file with arrays of these names, or of a function.

    Args:
        text: a path, or ``module:function`` that returns ``(inputs, labels)``, in any form that
            `mho.calibrate` takes.
        model: that they are for: numbers take its dtype.

    Raises:
        OSError, TypeError, ValueError: if there are none.
    """
    if not Path(text).exists() and ":" in text:
        made = called(text)
        if not isinstance(made, (tuple, list)) or len(made) != 2:
            raise TypeError(f"{text} must return (inputs, labels), got {type(made).__name__}")
        with _naming(text):
            return paired(model, *made)
    if not Path(text).exists():
        raise FileNotFoundError(f"no file {text}; a function is given as module:function")
    if not zipfile.is_zipfile(text):
        raise ValueError(f"{text} must be an .npz file with arrays inputs and labels")
    with np.load(text, allow_pickle=False) as file, _naming(text):
        missing = {"inputs", "labels"} - set(file.files)
        if missing:
            raise ValueError(
                f"must hold arrays inputs and labels, got {', '.join(file.files) or 'none'}"
            )
        return paired(model, file["inputs"], file["labels"])


@contextmanager
def _naming(text: str) -> Iterator[None]:
    """Say with an error what it is about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"{text}: {error}") from error
