"""What costing a network takes, beside plain PyTorch and beside simulating it.

    python benchmarks/system.py [--cases NAME ...] [--rounds 3] [--quick]

One JSON line each. The marks: ResNet-18 costed in 5 s or less, also where it lies on cores; a cost
with wires takes no longer than simulating three chips (converting, solving the wires, reading the
same inputs); ResNet-50 mapped in 2 s or less; errors of converters add a tenth to a read or less
(more of both in ``mapping.py`` and ``converters.py``). ``--quick``: the last two.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import nn

import mho
from gpu import resnet
from mapping import resnet50
from mho.analysis import chips, cost
from mho.chip import Cores, place
from mho.circuit import Wires
from mho.devices import Spread
from mho.periphery import SAR, Architecture
from timing import medians, options, report


def timed(run: Callable[[], object], rounds: int) -> float:
    """Return the median time (s) of a few runs."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def cost_of_resnet18(rounds: int) -> None:
    """Time the cost of ResNet-18 on one image, on three chips."""
    torch.manual_seed(0)
    model, x = resnet(64).eval(), torch.rand(1, 3, 224, 224)
    for name in ("generic_22nm", "hermes"):
        hardware = mho.Hardware(array=mho.Array(256, 256), dac=mho.DAC(8), adc=mho.ADC(8))
        analog = mho.convert(model, hardware)
        mho.calibrate(analog, x)
        chip = chips.get(name)
        with torch.no_grad():
            plain, read = (
                timed(lambda: model(x), rounds),
                timed(lambda analog=analog: analog(x), rounds),
            )
        found = timed(lambda analog=analog, chip=chip: cost(analog, x, chip), rounds)
        report(f"cost of ResNet-18 on {name}", plain=plain, read=read, cost=found, mark="<= 5 s")
    whole = chip.replace(cores=256)
    mapping = place(analog, whole.cores_for(hardware), "layer", inputs=x, copies="balanced")
    found = timed(lambda: cost(analog, x, whole, mapping=mapping), rounds)
    report("cost of ResNet-18 on cores of hermes", plain=plain, cost=found, mark="<= 5 s")


def mapping_of_resnet50(rounds: int) -> None:
    """Time the mapping of ResNet-50 on a chip of 1,000 cores, layers apart."""
    with torch.device("meta"):
        x = torch.empty(1, 3, 224, 224)
    model = resnet50()
    hardware = mho.Hardware(array=mho.Array(256, 256))
    cores = Cores(count=1000, rows=256, cols=256, arrays=2)
    with torch.no_grad():
        plain = timed(lambda: model(x), rounds)
    found = timed(lambda: place(model, cores, "layer", hardware=hardware, inputs=x), rounds)
    copied = timed(
        lambda: place(model, cores, "layer", hardware=hardware, inputs=x, copies="balanced"),
        rounds,
    )
    report("mapping of ResNet-50", plain=plain, map=found, with_copies=copied, mark="<= 2 s")


def errors_of_converters(rounds: int) -> None:
    """Compare reads with errors of converters and drivers to reads without."""
    torch.manual_seed(0)
    layer, x = nn.Linear(784, 512, bias=False), torch.randn(256, 784)
    gain = Spread("Normal", (("loc", 1.0), ("scale", 0.02)))
    kinds: dict[str, dict[str, object]] = {
        "without": {},
        "gain": {"architecture": Architecture(gain=gain)},
        "SAR": {"architecture": SAR(capacitor_sigma=0.02)},
        "shared SAR": {"architecture": SAR(capacitor_sigma=0.02), "columns_per_adc": 8},
    }
    work: dict[str, Callable[[], object]] = {"plain": lambda: layer(x)}
    for name, built in kinds.items():
        hardware = mho.Hardware(dac=mho.DAC(8), adc=mho.ADC(8).replace(**built))
        model = mho.convert(layer, hardware).eval()
        mho.calibrate(model, x[:64])
        work[name] = lambda model=model: model(x)
    with torch.no_grad():
        found = medians(work, 30 * rounds, warm_up=2)
    extra = {n: round(found[n] / found["without"] - 1.0, 3) for n in kinds if n != "without"}
    report(
        "errors of converters", plain=found["plain"], without=found["without"], extra=extra,
        mark="<= 0.1",
    )  # fmt: skip


def cost_with_wires(rounds: int) -> None:
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
            plain = timed(lambda: model(x), rounds)
        pairs = [(timed(simulated, 1), timed(costed, 1)) for _ in range(rounds + 2)]
        three, found = (statistics.median(p[i] for p in pairs) for i in (0, 1))
        ratio = statistics.median(b / a for a, b in pairs)
        report(
            f"cost with wires of {ohms} ohm", plain=plain, three_chips=three, cost=found,
            ratio=ratio, mark="<= 1",
        )  # fmt: skip


CASES: dict[str, Callable[[int], None]] = {
    "cost_of_resnet18": cost_of_resnet18,
    "cost_with_wires": cost_with_wires,
    "mapping_of_resnet50": mapping_of_resnet50,
    "errors_of_converters": errors_of_converters,
}
QUICK = ("mapping_of_resnet50", "errors_of_converters")


def main() -> None:
    """Run the cases named, or all."""
    warnings.simplefilter("ignore")
    given = options(__doc__, rounds=3, quick=1, cases={"nargs": "+", "choices": [*CASES]})
    for name in given.cases or (QUICK if given.quick else CASES):
        CASES[name](given.rounds)


if __name__ == "__main__":
    main()
