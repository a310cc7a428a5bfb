"""What large reads take, in memory and in time beside their arithmetic. Prints JSON lines.

    python benchmarks/memory.py [--case NAME] [--rounds 5] [--batch 32]

Every case runs in a process of its own. ``peak_mb`` is the largest resident memory over that after
the same work on the plain model. Times are the processor's. The arithmetic of a read is the plain
model's time, in rounds interleaved with the read's, times bit planes and digits (the two cells of a
digit are subtracted before they are multiplied). ``--quick``: two cases, on less of an image.
``--case "resnet18, usual, calibrated"`` takes minutes an image.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

import mho
from gpu import resnet as resnet18
from timing import options, report

CONVERTERS = {"dac": mho.DAC(bits=8), "adc": mho.ADC(bits=8)}
USUAL = {
    "dac": mho.DAC(bits=8, mode="bit_serial"),
    "adc": mho.ADC(bits=8),
    "array": mho.Array(rows=128, cols=128),
    "encoding": mho.encoding.BitSliced(bits=8, bits_per_cell=2),
}
NOISE = (mho.effects.ReadNoise(sigma=0.01),)
QUICK = ("convolutions, calibrated", "convolutions, calibrated, step")


def resident() -> float:
    """Largest resident memory so far (MB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def stepped(model: nn.Module, x: Tensor) -> Callable[[], object]:
    def one() -> None:
        model.zero_grad()
        model(x).square().mean().backward()

    return one


def shown(
    name: str, model: nn.Module, x: Tensor, parts: dict, rounds: int, *, train: bool = False
) -> None:
    """Compare a model on crossbars with the plain one, in memory and time."""
    hardware = mho.Hardware(**parts)
    analog = mho.convert(model, hardware, seed=0)
    if "calibrated" in name:
        mho.calibrate(analog, x[:1])
    model.train(train), analog.train(train)
    if train:
        work = {"plain": stepped(model, x), "read": stepped(analog, x)}
    else:
        work = {"plain": lambda: model(x), "read": lambda: analog(x)}
    times: dict[str, list[float]] = {key: [] for key in work}
    with torch.set_grad_enabled(train):
        work["plain"]()
        before = resident()
        for _ in range(rounds):
            for key, one in work.items():
                one() if key == "plain" else None
                start = time.process_time()
                one()
                times[key].append(time.process_time() - start)
    plain, read = (statistics.median(times[key]) for key in work)
    planes = hardware.drive.planes_sent * hardware.encoding.converters
    report(
        name,
        peak_mb=round(resident() - before, 1),
        plain_ms=round(plain * 1e3, 1),
        milliseconds=round(read * 1e3, 1),
        products=planes,
        ratio_to_arithmetic=round(read / plain / planes, 2),
    )


def resnet(batch: int) -> tuple[nn.Module, Tensor]:
    return resnet18(64), torch.rand(batch, 3, 224, 224)


def cases(rounds: int, batch: int, quick: bool) -> dict[str, Callable[[], None]]:
    """What to run, by name."""

    def two_convolutions() -> tuple[nn.Module, Tensor]:
        layers = (nn.Conv2d(64, 64, 3, padding=1) for _ in range(2))
        return nn.Sequential(*layers), torch.rand(8, 64, *((14, 14) if quick else (56, 56)))

    def depthwise() -> tuple[nn.Module, Tensor]:
        side = 14 if quick else 56
        return nn.Conv2d(64, 64, 3, padding=1, groups=64), torch.rand(8, 64, side, side)

    def vocabulary() -> tuple[nn.Module, Tensor]:
        return nn.Linear(4096, 32000), torch.rand(16, 4096)

    def case(name: str, made: Callable[[], tuple[nn.Module, Tensor]], **options: object) -> None:
        parts = options.pop("parts")
        shown(name, *made(), parts, options.pop("rounds", rounds), **options)

    def images() -> tuple[nn.Module, Tensor]:
        return resnet(batch)

    slow = {"rounds": 1}
    return {
        name: lambda name=name, made=made, options=options: case(name, made, **options)
        for name, made, options in (
            ("convolutions", two_convolutions, {"parts": USUAL}),
            ("convolutions, calibrated", two_convolutions, {"parts": USUAL}),
            (
                "convolutions, calibrated, noise",
                two_convolutions,
                {"parts": USUAL | {"effects": NOISE}},
            ),
            ("convolutions, step", two_convolutions, {"parts": USUAL, "train": True}),
            ("convolutions, calibrated, step", two_convolutions, {"parts": USUAL, "train": True}),
            ("depthwise", depthwise, {"parts": USUAL}),
            ("depthwise, calibrated", depthwise, {"parts": USUAL}),
            ("depthwise, calibrated, step", depthwise, {"parts": USUAL, "train": True}),
            ("4096 to 32000, calibrated", vocabulary, {"parts": CONVERTERS}),
            ("4096 to 32000, usual", vocabulary, {"parts": USUAL, **slow}),
            ("resnet18, ideal", images, {"parts": {}, **slow}),
            ("resnet18, converters, calibrated", images, {"parts": CONVERTERS, **slow}),
            ("resnet18, usual, calibrated", images, {"parts": USUAL, **slow}),
        )
    }


def main() -> None:
    given = options(__doc__, rounds=5, quick=1, case={}, batch={"type": int, "default": 32})
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    found = cases(given.rounds, given.batch, given.quick)
    if given.case:
        found[given.case]()
        return
    for name in found:
        if name not in QUICK if given.quick else name.startswith("resnet18, usual"):
            continue
        again = [sys.executable, __file__, "--case", name, "--rounds", str(given.rounds)]
        again += ["--batch", str(given.batch), *["--quick"] * given.quick]
        subprocess.run(again, check=True)


if __name__ == "__main__":
    main()
