"""What a layer costs, whatever its size: models of many small layers, from convert to load.

    python benchmarks/many_layers.py [--layers 1000 5000] [--threads 1]

Sequential models of 8×8 linear layers behind 8-bit converters, a batch of 16. Prints one JSON line
a step with the seconds of the whole model and microseconds a layer, beside the same of the plain
model where there is such a thing.
"""

from __future__ import annotations

import argparse
import copy
import io
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import mho
from timing import report


def network(layers: int) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(8, 8) for _ in range(layers)])
    for layer in model:
        nn.init.orthogonal_(layer.weight)
    return model


def saved(model: nn.Module) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    return file


def loaded(model: nn.Module, file: io.BytesIO) -> None:
    model.load_state_dict(torch.load(file, weights_only=True))


def seconds(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    found = work()
    return found, time.perf_counter() - start


def run(layers: int) -> None:
    plain, x = network(layers), torch.rand(16, 8)
    hardware = mho.Hardware(dac=mho.DAC(8), adc=mho.ADC(8))
    mho.convert(network(1), hardware)  # what is worked out once for a hardware

    def line(step: str, took: float, beside: float | None = None) -> None:
        each = 1e6 * took / layers
        report(
            "layers",
            layers=layers,
            step=step,
            s=round(took, 3),
            us_a_layer=round(each),
            plain_s=beside,
        )

    file, plain_save = seconds(lambda: saved(plain))
    _, plain_load = seconds(lambda: loaded(plain, file))
    model, took = seconds(lambda: mho.convert(plain, hardware))
    line("convert", total := took)
    _, took = seconds(lambda: mho.calibrate(model, x))
    line("calibrate", took)
    total += took
    file, took = seconds(lambda: saved(model))
    line("save", took, round(plain_save, 3))
    total += took
    _, took = seconds(lambda: loaded(model, file))
    line("load", took, round(plain_load, 3))
    line("convert, calibrate, save and load", total + took)
    model.eval()
    with torch.no_grad():
        plain(x), model(x)
        _, beside = seconds(lambda: plain(x))
        _, took = seconds(lambda: model(x))
    line("read", took, round(beside, 3))
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, nargs="+", default=[1000])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for layers in options.layers:
        run(layers)


if __name__ == "__main__":
    main()
