"""What a layer costs, whatever its size: models of many small layers, from convert to load.

    python benchmarks/many_layers.py [--layers 1000 5000] [--each 100] [--threads 1]

Sequential models of 8×8 linear layers behind 8-bit converters, a batch of 16. Prints one JSON line
a step with the seconds of the whole model and microseconds a layer, beside the same of the plain
model where there is such a thing. Torch loads a flat model in time quadratic in its layers, plain
or not; ``--each`` makes a model of parts of so many layers. ``cpu_s`` is the time of the processor
alone, which what else runs on the machine changes less.
"""

from __future__ import annotations

import copy
import io
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

import mho
from timing import options, report


def network(layers: int, each: int = 0) -> nn.Sequential:
    """Return so many layers, in parts of ``each`` where it is given."""
    torch.manual_seed(0)
    made = [nn.Linear(8, 8) for _ in range(layers)]
    for layer in made:
        nn.init.orthogonal_(layer.weight)
    size = each or layers
    parts = [nn.Sequential(*made[start : start + size]) for start in range(0, layers, size)]
    return nn.Sequential(*parts) if each else parts[0]


def saved(model: nn.Module) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    return file


def loaded(model: nn.Module, file: io.BytesIO) -> None:
    model.load_state_dict(torch.load(file, weights_only=True))


class Took(NamedTuple):
    """Seconds: by the clock, and of the processor."""

    clock: float
    processor: float

    def plus(self, other: Took) -> Took:
        """Return both together."""
        return Took(self.clock + other.clock, self.processor + other.processor)


def measured(work: Callable[[], Any], rounds: int) -> tuple[Any, Took]:
    """Return what the last round gave, and medians of all."""
    times = []
    for _ in range(rounds):
        start, worked = time.perf_counter(), time.process_time()
        found = work()
        times.append((time.perf_counter() - start, time.process_time() - worked))
    return found, Took(*(statistics.median(part) for part in zip(*times, strict=True)))


def run(layers: int, each: int, rounds: int) -> None:
    seconds = partial(measured, rounds=rounds)
    plain, x = network(layers, each), torch.rand(16, 8)
    hardware = mho.Hardware(dac=mho.DAC(8), adc=mho.ADC(8))
    mho.convert(network(1), hardware)  # what is worked out once for a hardware

    mho.calibrate(mho.convert(network(1), hardware), x)

    def line(step: str, took: Took, beside: Took | None = None) -> None:
        report(
            "layers",
            layers=layers,
            step=step,
            s=round(took.clock, 3),
            cpu_s=round(took.processor, 3),
            us_a_layer=round(1e6 * took.clock / layers, 1),
            plain_s=None if beside is None else round(beside.clock, 3),
        )

    file, plain_save = seconds(lambda: saved(plain))
    _, plain_load = seconds(lambda: loaded(plain, file))
    model, took = seconds(lambda: mho.convert(plain, hardware))
    line("convert", total := took)
    _, took = seconds(lambda: mho.calibrate(model, x))
    line("calibrate", took)
    total = total.plus(took)
    file, took = seconds(lambda: saved(model))
    line("save", took, plain_save)
    total = total.plus(took)
    _, took = seconds(lambda: loaded(model, file))
    line("load", took, plain_load)
    line("convert, calibrate, save and load", total.plus(took))
    model.eval()
    with torch.no_grad():
        plain(x), model(x)
        _, beside = seconds(lambda: plain(x))
        _, took = seconds(lambda: model(x))
    line("read", took, beside)
    others = {
        "summary": lambda: str(mho.summary(model)),
        "crossbars": lambda: mho.crossbars(model),
        "state_dict": model.state_dict,
        "deepcopy": lambda: copy.deepcopy(model),
        "program": lambda: mho.program(model),
        "age": lambda: mho.age(model, 3600.0),
        "compensate": lambda: mho.compensate(model),
        "training step": lambda: model.train()(x).square().sum().backward(),
    }
    for step, work in others.items():
        line(step, seconds(work)[1])


def main() -> None:
    whole = {"type": int, "nargs": "+"}
    given = options(__doc__, rounds=1, layers=whole, each={"type": int, "default": 0})
    for layers in given.layers or ([200] if given.quick else [1000]):
        run(layers, given.each, given.rounds)


if __name__ == "__main__":
    main()
