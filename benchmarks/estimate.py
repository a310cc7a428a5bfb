"""What `mho.estimate` says against what then happens: ratios of measured to estimated.

    python benchmarks/estimate.py [--cpu]

``--cpu`` counts the time that the thread works on both sides, which the load of the machine hardly
changes; without, what the clock says, and a load that comes or goes in between is in it. One JSON
line for each model and hardware, in one process; ``plain`` is torch's own forward pass.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import mho
from mho.model import pace
from timing import options, report

HARDWARE = {
    "ideal": mho.Hardware(),
    "8 bit": mho.Hardware(
        array=mho.Array(256, 256),
        dac=mho.DAC(8),
        adc=mho.ADC(8),
        effects=(mho.effects.WriteNoise(0.02),),
    ),
    "bit-serial, 4 slices": mho.Hardware(
        dac=mho.DAC(8, mode="bit_serial"),
        adc=mho.ADC(8),
        encoding=mho.encoding.BitSliced(bits=8, bits_per_cell=2),
    ),
}

MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "MLP 1024-2048-512, batch 128": (
        lambda: nn.Sequential(nn.Linear(1024, 2048), nn.ReLU(), nn.Linear(2048, 512)),
        (128, 1024),
    ),
    "two convolutions, batch 8": (
        lambda: nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.Flatten()),
        (8, 3, 24, 24),
    ),
    "20 layers 32-32, batch 4": (
        lambda: nn.Sequential(*[nn.Linear(32, 32) for _ in range(20)]),
        (4, 32),
    ),
    "transformer layer d = 256": (
        lambda: nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True, dropout=0.0),
        (4, 64, 256),
    ),
}


def timed(run: Callable[[], Any], rounds: int) -> float:
    """Return the median time (s) of a few runs after a first: estimates contain the load."""
    run()
    taken = []
    for _ in range(rounds):
        start = pace.clock()
        run()
        taken.append(pace.clock() - start)
    return statistics.median(taken)


def measure(
    model: nn.Module, hardware: mho.Hardware, x: torch.Tensor, rounds: int
) -> dict[str, float]:
    """Return measured over estimated of every time, and of the memory kept by tensors."""
    start = time.perf_counter()
    estimate = mho.estimate(model, hardware, x)
    took = time.perf_counter() - start
    analog = mho.convert(model, hardware).eval()

    def read(network: nn.Module) -> Callable[[], Any]:
        def run() -> None:
            with torch.no_grad():
                network(x)

        return run

    def step() -> None:
        analog.train()
        analog(x).sum().backward()

    measured = {
        "convert": timed(lambda: mho.convert(model, hardware), rounds),
        "program": timed(lambda: mho.program(analog), rounds),
        "read": timed(read(analog), rounds),
        "step": timed(step, rounds),
    }
    found = {name: value / getattr(estimate, name) for name, value in measured.items()}
    held = [*analog.parameters(), *analog.buffers()]
    held += [c.reader.stored.matrix for c in mho.crossbars(analog.eval()).values()]
    there = sum(t.numel() * t.element_size() for t in held)
    found["converted"] = there / estimate.converted
    found["estimate (s)"] = took
    found["plain (s)"] = timed(read(model), rounds)
    return found


def main() -> None:
    """Print the lines."""
    given = options(
        __doc__, rounds=7, cpu={"action": "store_true", "help": "time at work, not on the clock"}
    )
    if given.cpu:
        pace.clock = time.thread_time
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    for name, (build, shape) in MODELS.items():
        for kind, hardware in HARDWARE.items():
            found = measure(build().eval(), hardware, torch.randn(*shape), given.rounds)
            rounded = {key: float(f"{value:.3g}") for key, value in found.items()}
            report(name, hardware=kind, **rounded)


if __name__ == "__main__":
    main()
