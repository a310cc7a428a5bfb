"""Old programs on mho: what the compatibility layers cost. Prints JSON lines.

    python benchmarks/compat.py [--rounds 15] [--threads 1]

MemTorch: patching, tuning and reading 784-512-10 (VTEAM, tiles of 128 × 128, 8-bit converters), a
passive `Linear(128, 64)` behind 5 Ω wires, a simulated nonlinear read of `Linear(256, 128)`, and
calls for one cell after the other beside a plain Python object that takes the same step.
Beside each stand the digital layers, mho's own read of the same hardware, and where there is one
the loop over cells that the old system ran (on a size it can bear). Processor time, medians of
interleaved rounds; memory is what patching keeps and, at its peak, takes.
"""

from __future__ import annotations

import copy
import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import mho
from mho.compat import memtorch
from mho.compat.memtorch.bh.nonideality.NonIdeality import NonIdeality, apply_nonidealities
from mho.compat.memtorch.mn.Module import patch_model
from timing import options, report

ADC = {"ADC_resolution": 8, "ADC_overflow_rate": 0.0, "quant_method": "linear"}
TILED = {"tile_shape": (128, 128), "max_input_voltage": 0.3, **ADC}
Crossbar, VTEAM = memtorch.bh.crossbar.Crossbar, memtorch.bh.memristor.VTEAM
LOOP_ROWS, LOOP_COLUMNS = 16, 8  # cells of the loop


def medians(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    seen: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds + 2):  # the first two are not counted
        for name, function in work.items():
            start = time.process_time()
            function()
            if turn > 1:
                seen[name].append(time.process_time() - start)
    return {name: statistics.median(times) for name, times in seen.items()}


def patch(model: nn.Module, **options: Any) -> Any:
    return patch_model(
        model,
        memristor_model=VTEAM,
        memristor_model_params={},
        module_parameters_to_patch=[nn.Linear],
        verbose=False,
        **options,
    )


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10)).eval()


def mho_mlp(digital: nn.Module, x: torch.Tensor) -> nn.Module:
    """The same hardware in mho's own terms; its converters are calibrated."""
    hardware = mho.Hardware(
        device=mho.devices.VTEAM(),
        array=mho.Array(rows=128, cols=128),
        dac=mho.DAC(v_max=0.3),
        adc=mho.ADC(bits=8, method="linear"),
    )
    analog = mho.convert(digital, hardware, seed=0)
    mho.calibrate(analog, x)
    return analog.eval()


def kept(model: nn.Module) -> float:
    """Megabytes of a patched model's crossbars."""
    tensors = [
        tensor
        for layer in model.modules()
        for crossbar in getattr(layer, "crossbars", ())
        for tensor in (crossbar.conductance_matrix, *crossbar.parameters.values())
        if isinstance(tensor, torch.Tensor)
    ]
    return sum(t.numel() * t.element_size() for t in tensors) / 1e6


def memtorch_mlp(rounds: int) -> None:
    digital, x = mlp(), torch.rand(256, 784)
    model = patch(copy.deepcopy(digital), **TILED)
    model.tune_()
    own = mho_mlp(digital, x)
    seconds = medians(
        {
            "patch": lambda: patch(copy.deepcopy(digital), **TILED),
            "tune": model.tune_,
        },
        rounds,
    )
    seconds |= medians(
        {
            "read 256": lambda: model(x),
            "read 256, mho's own": lambda: own(x),
            "digital read 256": lambda: digital(x),
        },
        rounds,
    )
    tracemalloc.start()
    patch(copy.deepcopy(digital), **TILED)
    python_peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    for name, value in seconds.items():
        report(f"memtorch 784-512-10: {name}", ms=1e3 * value)
    report("memtorch 784-512-10: memory", kept_mb=kept(model), python_peak_mb=python_peak)


def memtorch_passive(rounds: int) -> None:
    x = torch.rand(32, 128)
    options = {"transistor": False, "source_resistance": 5.0, "line_resistance": 5.0}
    model = patch(nn.Sequential(nn.Linear(128, 64)), **options)

    def first() -> None:
        model[0].crossbars[0].conductance_matrix.mul_(0.9999)  # all is solved anew
        model(x)

    seconds = medians({"first read": first, "next read": lambda: model(x)}, rounds)
    for name, value in seconds.items():
        report(f"memtorch passive 128 x 64: {name}", ms=1e3 * value)


def memtorch_nonlinear(rounds: int) -> None:
    model = patch(nn.Sequential(nn.Linear(256, 128)))
    apply_nonidealities(model, non_idealities=[NonIdeality.NonLinear], simulate=True)
    x = torch.rand(1, 256)
    corner = model[0].crossbars[0].devices

    def loop() -> None:
        for row in range(LOOP_ROWS):
            for column in range(LOOP_COLUMNS):
                corner[row][column].current(float(x[0, row]))

    seconds = medians({"one sample": lambda: model(x), "loop": loop}, rounds)
    whole = 256 * 128 * 2 / (LOOP_ROWS * LOOP_COLUMNS)
    report("memtorch nonlinear 256 x 128: one sample", ms=1e3 * seconds["one sample"])
    report("memtorch nonlinear 256 x 128: loop over views", ms=1e3 * whole * seconds["loop"])


class Plain(memtorch.bh.memristor.Memristor):
    """VTEAM as a plain Python object: what a call for one cell costs at least."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(1000.0, 50.0, 1e-10)
        self.x, self.g = 0.0, 1 / 50

    def current(self, voltage: float) -> float:
        """Return the current (A)."""
        return voltage * self.g

    def set_conductance(self, conductance: float) -> None:
        """Put it to a conductance (S)."""
        self.g = min(max(conductance, 1 / self.r_off), 1 / self.r_on)

    def simulate(self, voltage_signal: Any, return_current: bool = False) -> None:
        """Take Euler's steps."""
        for v in voltage_signal:
            speed = 5e-4 * (v / 0.02 - 1) if v > 0.02 else -10 * max(v / -0.2 - 1, 0.0) ** 3
            self.x = min(max(self.x + speed * 1e-10, 0.0), 3e-9)
            self.g = 1 / (50 + 950 * self.x / 3e-9)


PULSE = [0.1] * 10
CALLS: dict[str, Callable[[Any], object]] = {
    "g": lambda device: device.g,
    "r_on": lambda device: device.r_on,
    "set_conductance": lambda device: device.set_conductance(0.01),
    "simulate": lambda device: device.simulate([0.1]),
    "simulate 10 samples": lambda device: device.simulate(PULSE),
    "current": lambda device: device.current(0.1),
}


def memtorch_one_cell(rounds: int) -> None:
    """Calls for one cell after the other, by ``crossbar.devices[i][j]``."""
    normal = memtorch.bh.StochasticParameter(torch.distributions.Normal, loc=1e3, scale=10.0)
    kinds = {"view": (VTEAM, {}), "spread": (VTEAM, {"r_off": normal}), "object": (Plain, {})}
    made = {name: Crossbar(*kind, (20, 20)) for name, kind in kinds.items()}

    def loop(crossbar: Any, call: Callable[[Any], object]) -> Callable[[], object]:
        return lambda: [call(crossbar.devices[i][j]) for i in range(20) for j in range(20)]

    for name, call in CALLS.items():
        took = medians({kind: loop(crossbar, call) for kind, crossbar in made.items()}, rounds)
        report(
            f"memtorch one cell: {name}",
            target_ratio=5,
            ratio=took["view"] / took["object"],
            ratio_spread=took["spread"] / took["object"],
            us=1e6 * took["view"] / 400,
        )

    def devices() -> None:
        Crossbar(VTEAM, {}, (256, 256)).devices[0][0]

    took = medians({"devices": devices}, 3)
    report("memtorch devices of 256 x 256", target_ms=150, ms=1e3 * took["devices"])


def main() -> None:
    given = options(__doc__, rounds=15)
    torch.manual_seed(0)
    with torch.no_grad():
        memtorch_mlp(given.rounds)
        memtorch_passive(given.rounds)
        memtorch_nonlinear(given.rounds)
        memtorch_one_cell(given.rounds)


if __name__ == "__main__":
    main()
