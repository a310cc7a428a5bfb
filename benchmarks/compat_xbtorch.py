"""XBTorch's interface on mho: mapping, deployed reads, steps of training, import. JSON lines.

    python benchmarks/compat_xbtorch.py [--rounds 20] [--threads 2]

784-512-10 with layer-ensemble averaging, three copies of which two are kept, a chip of 2500 × 2500
cells of which 10 % are stuck, converters of 8 bits; a batch of 256. Medians of wall time and of
processor time; beside the read, the same network's digital forward. A step of training is of
a batch of 64, by torch's own SGD, on cells (ideal, noisy), under WAGE, and under WAGE on cells.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from mho.compat import xbtorch
from mho.compat.xbtorch.deployment import SimpleFixedPoint, encode_LEA1, map_random
from mho.compat.xbtorch.devices import AnalyticalIdeal, AnalyticalReal
from mho.compat.xbtorch.patches import xbtorch_model
from timing import options, report


class Perceptron(nn.Module):  # noqa: D101
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return self.model(x)


def timed(function: Callable[[], object], rounds: int) -> dict[str, float]:
    wall, processor = [], []
    for turn in range(rounds + 2):  # the first two are not counted
        start = time.perf_counter(), time.process_time()
        function()
        if turn > 1:
            wall.append(time.perf_counter() - start[0])
            processor.append(time.process_time() - start[1])
    return {
        "wall_ms": 1e3 * statistics.median(wall),
        "processor_ms": 1e3 * statistics.median(processor),
    }


def deployment(rounds: int) -> None:
    accelerator = SimpleFixedPoint(
        adc_bits=8,
        dac_bits=8,
        stuck_percentage=0.1,
        weight_encoding_scheme=encode_LEA1,
        xb_mapping_scheme=partial(map_random, beta=3),
    )
    xbtorch.initialize(inference_accelerator=accelerator)
    model = xbtorch_model(Perceptron())
    options = {"alpha": 2, "beta": 3}

    def write() -> None:
        model.initialize_array_mappings(output_polling_mode="reduced_avg", additional_args=options)

    report("new chip", **timed(accelerator.initialize_chip, max(rounds // 4, 3)))
    report("LEA mapping, three copies", target_ms=300, **timed(write, max(rounds // 2, 3)))
    x = torch.rand(256, 784)
    with torch.no_grad():
        model.xb_eval(False)
        report("digital forward", **timed(lambda: model(x), rounds))
        model.xb_eval()
        report("deployed forward", target_ms=5, **timed(lambda: model(x), rounds))
        accelerator.read_noise = 2.0
        report("deployed forward, read noise", **timed(lambda: model(x), rounds))


def training(rounds: int) -> None:
    """Take steps with each kind of session."""
    x, labels = torch.rand(64, 784), torch.randint(10, (64,))
    sessions: dict[str, dict[str, object]] = {
        "no cells": {},
        "ideal cells": {"device_type": AnalyticalIdeal()},
        "noisy cells": {"device_type": AnalyticalReal()},
        "WAGE": {"wage_quantize": True},
        "WAGE, noisy cells": {"wage_quantize": True, "device_type": AnalyticalReal()},
    }

    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()

    model: nn.Module = Perceptron()
    plain = partial(step, model, torch.optim.SGD(model.parameters(), lr=0.05))
    report("step, torch alone", **timed(plain, rounds))
    for name, settings in sessions.items():
        xbtorch.initialize(**settings)
        model = xbtorch_model(Perceptron())
        lr = 8.0 if "WAGE" in name else 0.05
        ours = partial(step, model, xbtorch.optim.SGD(model.parameters(), lr=lr))
        report(f"step, {name}", **timed(ours, rounds))


def imports(rounds: int) -> None:
    def run(code: str) -> None:
        subprocess.run([sys.executable, "-c", code], check=True)

    for code in ("import torch", "import mho.compat.xbtorch"):
        found = [_seconds(partial(run, code)) for _ in range(rounds)]
        report(code, target_s=3, wall_s=min(found))


def _seconds(function: Callable[[], None]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    given = options(__doc__, rounds=20, threads=2)
    torch.manual_seed(0)
    deployment(given.rounds)
    training(given.rounds)
    imports(3)


if __name__ == "__main__":
    main()
