"""Accuracy against energy against area, for what one chooses: converters, tiles, cells a weight.

    python examples/trade_offs.py [--quick] [--out trade_offs]

A small network for scikit-learn's digits on a chip of 22 nm that nobody built: one choice at a time
is changed from a common base. Energies and areas are objectives only because every part of that
chip is counted.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import mho
from example_options import parsed
from mho.analysis import ChipArchitecture, Part, chips, cost
from mho.analysis.components import AtNode, Component, IsaacADC
from mho.core.text import table
from mho.demo.data import Samples, digits
from mho.demo.models import cnn
from mho.encoding import BitSliced, Differential, Encoding
from mho.plot import style
from mho.plot.styles import COLOURS, GREY
from mho.train import fit

SEEDS = tuple(range(8))
MARKERS = "osD^v"


class Choice(NamedTuple):
    """What one chooses; the base by default."""

    adc_bits: int = 6
    tile: int = 64
    encoding: Encoding = Differential()
    converter: Component | None = None
    sharing: int = 8


class Point(NamedTuple):
    """What comes of it: means over chips."""

    accuracy: float
    spread: float
    energy: float
    low: float
    high: float
    area: float


BASE = Choice()
SWEEPS: dict[str, dict[str, Choice]] = {
    "ADC bits": {f"{b} bits": BASE._replace(adc_bits=b) for b in (4, 5, 6, 8, 10)},
    "tile": {f"{n} × {n}": BASE._replace(tile=n) for n in (32, 64, 128, 256)},
    "cells a weight": {
        "a pair": BASE,
        "2 pairs of 2 bits": BASE._replace(encoding=BitSliced(bits=5, bits_per_cell=2)),
        "4 pairs of 1 bit": BASE._replace(encoding=BitSliced(bits=5, bits_per_cell=1)),
    },
    "converter": {
        "best of a survey, for 8 lines": BASE,
        "the same, for 1 line": BASE._replace(sharing=1),
        "ISAAC's, 32 nm": BASE._replace(converter=IsaacADC()),
        "for 64 lines, 22 nm": BASE._replace(converter=AtNode(IsaacADC(), 22e-9), sharing=64),
    },
}


def chip(choice: Choice) -> ChipArchitecture:
    """Return the chip of a choice."""
    base = chips.get("generic_22nm")

    def chosen(part: Part) -> Part:
        if part.name == "ADC" and choice.converter is not None:
            return part.replace(component=choice.converter)
        return part

    parts = tuple(chosen(part) for part in base.parts)
    return base.replace(parts=parts, columns_per_converter=choice.sharing, pipelined=True)


def measure(model: nn.Module, data: Samples, choice: Choice, seeds: tuple[int, ...]) -> Point:
    """Return accuracy, energy and area of the network on chips of a choice, one a seed."""
    hardware = mho.Hardware(
        encoding=choice.encoding,
        array=mho.Array(choice.tile, choice.tile),
        dac=mho.DAC(bits=6),
        adc=mho.ADC(bits=choice.adc_bits),
        effects=(mho.effects.WriteNoise(0.12), mho.effects.ReadNoise(0.02)),
    )
    right = []
    for seed in seeds:
        analog = mho.convert(model, hardware, seed=seed)
        mho.calibrate(analog, data.train_x[:200])
        with torch.no_grad():
            right.append(float((analog(data.test_x).argmax(1) == data.test_y).float().mean()))
    found = cost(analog, data.test_x[:50], chip(choice))
    accuracy = torch.tensor(right)
    energy = found.energy
    assert energy is not None
    return Point(
        100 * float(accuracy.mean()),
        100 * float(accuracy.std()) / len(right) ** 0.5,
        *(1e9 * e for e in (found.objective("energy"), energy.low, energy.high)),
        1e6 * found.objective("area"),
    )


def draw(results: dict[str, dict[str, Point]], digital: float, path: Path) -> None:
    """Draw accuracy over energy (left) and over area (right), a row for every choice."""
    with style():
        figure, panels = plt.subplots(
            len(results), 2, figsize=(8.4, 2.3 * len(results)), sharex="col", sharey=True
        )
        for row, colour, (name, points) in zip(panels, COLOURS, results.items(), strict=True):
            for panel in row:
                panel.axhline(digital, color=GREY, linestyle="--", linewidth=1.0)
            for marker, (label, point) in zip(MARKERS, points.items(), strict=False):
                reach = [[point.energy - point.low], [point.high - point.energy]]
                look = {"color": colour, "fmt": marker, "markersize": 7, "elinewidth": 1.0}
                up = {"y": point.accuracy, "yerr": point.spread}
                # What published numbers leave open of an energy is wide: pale, behind the points.
                row[0].errorbar(point.energy, point.accuracy, xerr=reach, fmt="none",
                                ecolor=colour, elinewidth=3.0, alpha=0.2)  # fmt: skip
                row[0].errorbar(point.energy, **up, **look)
                row[1].errorbar(point.area, **up, **look, label=label)
            values = points.values()
            for panel, x in zip(row, ("energy", "area"), strict=True):
                at = [getattr(point, x) for point in values]
                panel.plot(at, [point.accuracy for point in values], color=colour, linewidth=1.0)
            row[0].set_title(name)
            row[0].set_ylabel("accuracy (%)")
            row[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        for panel, ticks, label in (
            (panels[-1, 0], (5, 10, 20, 50, 100, 200), "energy of an inference (nJ)"),
            (panels[-1, 1], (0.5, 1, 2), "area (mm²)"),
        ):
            panel.set_xscale("log")
            panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            panel.minorticks_off()
            panel.set_xlabel(label)
        figure.savefig(path)
        plt.close(figure)


def main() -> None:
    """Train, measure, print and draw."""
    options = parsed(__doc__ or "", "trade_offs", quick="two chips, less training")
    folder, seeds = options.out, SEEDS[:2] if options.quick else SEEDS
    data = digits(seed=0)
    torch.manual_seed(0)
    model = cnn()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    fit(
        model,
        optimizer,
        (data.train_x, data.train_y),
        F.cross_entropy,
        epochs=3 if options.quick else 8,
    )
    digital = 100 * float((model(data.test_x).argmax(1) == data.test_y).float().mean())
    known: dict[Choice, Point] = {}
    results: dict[str, dict[str, Point]] = {}
    for name, choices in SWEEPS.items():
        for choice in choices.values():
            if choice not in known:
                known[choice] = measure(model, data, choice, seeds)
        results[name] = {label: known[choice] for label, choice in choices.items()}
    rows = [
        (
            name, label, f"{p.accuracy:.1f} ± {p.spread:.1f} %",
            f"{p.energy:.3g} ({p.low:.3g} … {p.high:.3g}) nJ", f"{p.area:.3g} mm²",
        )
        for name, points in results.items()
        for label, p in points.items()
    ]  # fmt: skip
    print(f"digital: {digital:.1f} %\n")
    print(table(("changed", "to", "accuracy", "energy of an inference", "area"), rows, left=2))
    draw(results, digital, folder / "trade_offs.png")
    print(f"\n{folder}/trade_offs.png")


if __name__ == "__main__":
    main()
