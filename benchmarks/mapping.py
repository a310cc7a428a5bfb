"""Mapping networks on the cores of a chip: how long it takes. JSON lines.

    python benchmarks/mapping.py [--rounds 5] [--threads 1]

ResNet-50 (shapes of K. He et al., 2015, arXiv 1512.03385, 224 × 224) on cores of 256 × 256 unit
cells: from the torch model on the meta device, where finding how often its layers are read is most
of the work; and from the shapes alone, on chips as large as each policy needs, with copies, in
turns, and on small cores, where there are more tiles. Beside it one forward pass of the model in
plain torch on the meta device, which computes nothing. Medians of interleaved rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import mho
from mho.chip import CoreMapping, Cores, LayerShape, Rewriting, place
from timing import options, report

CORES = Cores(count=64, rows=256, cols=256, arrays=2)
HARDWARE = mho.Hardware(array=mho.Array(256, 256))


class Bottleneck(nn.Module):
    """1 × 1, 3 × 3 and 1 × 1 convolutions beside a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.shortcut = (
            nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            if stride > 1 or inputs != outputs
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """From ``[batch, inputs, height, width]`` to four times the width."""
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet50() -> nn.Module:
    """Return ResNet-50 on the meta device."""
    with torch.device("meta"):
        layers: list[nn.Module] = [
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        ]  # fmt: skip
        inputs = 64
        for stage, depth in enumerate((3, 4, 6, 3)):
            width = 64 * 2**stage
            for i in range(depth):
                layers.append(Bottleneck(inputs, width, 2 if i == 0 and stage else 1))
                inputs = 4 * width
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000)]
        return nn.Sequential(*layers).eval()


def medians(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    seen: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds + 1):  # the first is not counted
        for name, function in work.items():
            start = time.perf_counter()
            function()
            if turn:
                seen[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seen.items()}


def shape(name: str, layer: nn.Module, reads: float, side: int) -> LayerShape:
    """Return a layer of the model as one that wants a place, on tiles of one size."""
    weight: Tensor = layer.weight  # type: ignore[assignment]
    return LayerShape(name, weight[0].numel(), len(weight), reads=reads, tile=(side, side))


def needed(shapes: list[LayerShape], cores: Cores, policy: str) -> int:
    return place(shapes, cores.replace(count=10**6), policy).cores_used


def main() -> None:
    given = options(__doc__, rounds=5)
    model, image = resnet50(), torch.empty(1, 3, 224, 224, device="meta")
    large = CORES.replace(count=4096)
    first = place(model, large, hardware=HARDWARE, inputs=image)
    modules = dict(model.named_modules())

    def again(side: int) -> list[LayerShape]:
        return [shape(s.name, modules[s.name], s.reads, side) for s in first.shapes]

    shapes, tiny = again(256), again(64)
    small = CORES.replace(rows=64, cols=64)
    turns = Rewriting(16, row_time=1e-5, cell_energy=1e-10, cell_pulses=8.0)
    chips = {
        f"{policy}, {cores.rows} × {cores.cols}": (found, cores, policy)
        for found, cores in ((shapes, CORES), (tiny, small))
        for policy in ("packed", "layer", "tile")
    }
    work: dict[str, Callable[[], CoreMapping]] = {
        "model and inputs, packed": lambda: place(model, large, hardware=HARDWARE, inputs=image),
        "model and inputs, copies": lambda: place(
            model, large, "layer", hardware=HARDWARE, inputs=image, copies="balanced"
        ),
        "in turns on 64 cores": lambda: place(shapes, CORES, turns=turns),
    }
    for name, (found, cores, policy) in chips.items():
        count = needed(found, cores, policy)
        there = cores.replace(count=count)
        work[name] = lambda f=found, c=there, p=policy: place(f, c, p)  # type: ignore[misc]
        double = cores.replace(count=2 * count)
        work[f"{name}, copies"] = lambda f=found, c=double, p=policy: place(  # type: ignore[misc]
            f, c, p, copies="balanced"
        )
    with torch.no_grad():
        timed = medians({"forward": lambda: model(image), **work}, given.rounds)
    report("plain torch on the meta device, forward", milliseconds=round(1e3 * timed["forward"], 1))
    for name, function in work.items():
        found = function()
        report(
            "map ResNet-50",
            how=name,
            milliseconds=round(1e3 * timed[name], 1),
            tiles=float(len(found.tiles)),
            cores=float(found.cores_used),
            filled=round(found.filling, 3),
        )


if __name__ == "__main__":
    main()
