"""What costing a network takes, beside plain PyTorch and beside simulating it.

    python benchmarks/system.py [name ...]

One JSON line each. The marks: ResNet-18 costed in 5 s or less; a cost with wires takes no longer
than simulating three chips (converting, solving the wires, reading the same inputs).
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable

import torch
from torch import nn

import mho
from gpu import resnet
from mho.analysis import chips, cost
from mho.circuit import Wires
from timing import report


def timed(run: Callable[[], object], rounds: int = 3) -> float:
    """Return the median time (s) of a few runs."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def cost_of_resnet18() -> None:
    """Time the cost of ResNet-18 on one image, on three chips."""
    torch.manual_seed(0)
    model, x = resnet(64).eval(), torch.rand(1, 3, 224, 224)
    for name in ("generic_22nm", "hermes"):
        hardware = mho.Hardware(array=mho.Array(256, 256), dac=mho.DAC(8), adc=mho.ADC(8))
        analog = mho.convert(model, hardware)
        mho.calibrate(analog, x)
        chip = chips.get(name)
        with torch.no_grad():
            plain, read = timed(lambda: model(x)), timed(lambda analog=analog: analog(x))
        found = timed(lambda analog=analog, chip=chip: cost(analog, x, chip))
        report(f"cost of ResNet-18 on {name}", plain=plain, read=read, cost=found, mark="<= 5 s")


def cost_with_wires() -> None:
    """Time the cost of layers with wires beside simulating three chips of them."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 128)).eval()
    x = torch.rand(256, 512)
    for ohms in (0.1, 1.0, 5.0):
        array = mho.Array(128, 128, wires=Wires(source=ohms, word=ohms, bit=ohms, sense=ohms))
        hardware = mho.Hardware(array=array, dac=mho.DAC(8), adc=mho.ADC(8))
        analog = mho.convert(model, hardware)
        mho.calibrate(analog, x)

        def simulated(hardware: mho.Hardware = hardware) -> None:
            for seed in range(3):
                chip = mho.convert(model, hardware, seed=seed)
                mho.calibrate(chip, x)
                with torch.no_grad():
                    chip(x)

        def costed(analog: nn.Module = analog) -> None:
            cost(analog, x, chips.get("generic_22nm"))

        with torch.no_grad():
            plain = timed(lambda: model(x))
        pairs = [(timed(simulated, 1), timed(costed, 1)) for _ in range(5)]
        three, found = (statistics.median(p[i] for p in pairs) for i in (0, 1))
        ratio = statistics.median(b / a for a, b in pairs)
        report(
            f"cost with wires of {ohms} ohm", plain=plain, three_chips=three, cost=found,
            ratio=ratio, mark="<= 1",
        )  # fmt: skip


CASES: dict[str, Callable[[], None]] = {
    "cost_of_resnet18": cost_of_resnet18,
    "cost_with_wires": cost_with_wires,
}


def main() -> None:
    """Run the cases named, or all."""
    warnings.simplefilter("ignore")
    unknown = [name for name in sys.argv[1:] if name not in CASES]
    if unknown:
        raise SystemExit(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    for name in sys.argv[1:] or CASES:
        CASES[name]()


if __name__ == "__main__":
    main()
