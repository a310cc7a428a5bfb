"""From a device to the accuracy of networks on it: what ``mho accuracy`` does."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

import mho
from mho import plot, study
from mho.cells.device import Device
from mho.cli import given
from mho.cli.given import Task
from mho.core import random
from mho.core.files import drafts
from mho.core.text import duration, table
from mho.plot import page
from mho.plot.charts import ACCURACY, accuracy_of_groups, accuracy_series, weights_held
from mho.plot.interactive import Axis, lines
from mho.plot.page import Code, Section, Table
from mho.plot.styles import COLOURS, GREY, MORE_COLOURS
from mho.study.chips import torch_threads
from mho.study.network import check_reads

_CALIBRATION = 100
_SAID = "In percent: mean ± standard deviation over the chips, each with cells of its own."
_CAPTION = (
    "Marks are means over the chips ± one standard deviation; ideal cells have the same window and "
    "converters. Recalibrated: gain and offset of every output are fitted anew before the test. "
    "Weights are those that the first layer of the first chip holds, against those asked for."
)
_WORKERS = min(os.cpu_count() or 1, 8)


def run(
    text: str,
    out: Path,
    *,
    model: str | None = None,
    chips: int = 8,
    adc_bits: int | None = None,
    seed: int = 0,
    reads_per_second: float = 0.0,
) -> None:
    """Measure networks on chips of a device; print, draw and write a report.

    Args:
        text: the file of a whole hardware; or of a device, or a preset's name, put on
            tiles of 64 × 64 with converters.
        out: folder for the report; it is made if need be.
        model: ``module:function`` of one's own network; the digits networks if not given.
        chips: how many, each with cells of its own.
        adc_bits: of the converters around a device; 0: exact reads; 8 if not given.
        seed: of everything random.
        reads_per_second: that cells are through as time passes; see `mho.study.accuracy`.

    Raises:
        ValueError: if bits are given for a hardware, which has converters of its own, or reads for
            one that does not go by them.
    """
    what, name = given.device_or_hardware(text), Path(text).stem
    if isinstance(what, mho.Hardware):
        if adc_bits is not None:
            raise ValueError(
                f"{name} is a whole hardware, with its own converters: leave out --adc-bits"
            )
        hardware = what
    else:
        hardware = around(what, 8 if adc_bits is None else adc_bits)
    check_reads(hardware, reads_per_second)
    out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made: say so now
    with torch_threads(1):  # the same numbers on any number of cores
        tasks = {model: given.task(model)} if model else digits_tasks(seed)
        seeds = [random.derive(seed, "chip", i) for i in range(chips)]
        found, summaries, reports = {}, [], {}
        for label, task in tasks.items():
            analog = mho.convert(task.model, hardware, seed=seeds[0])
            mho.calibrate(analog, task.calibration)
            summaries.append(str(mho.summary(analog)))
            reports[label] = mho.program(analog)
            found[label] = study.accuracy(
                task.model,
                hardware,
                task.inputs,
                task.labels,
                calibration=task.calibration,
                seeds=seeds,
                reads_per_second=reads_per_second,
                workers=_WORKERS,
                label=label,
            )
            if len(summaries) == 1:
                held = analog
    rows, costs = _rows(found), [_cost(label, one) for label, one in found.items()]
    notes = list(dict.fromkeys(one.note for one in found.values() if one.note))
    head = ("accuracy (%)", *found)
    setting = _setting(hardware, chips, seed, reads_per_second)
    print(f"{name}: {hardware.device}\n{setting}\n")
    print(table(head, rows) + "\n")
    print("\n".join([*costs, *notes]))
    programmed = "\n\n".join(f"{label}\n{report}" for label, report in reports.items())
    print(f"\nProgramming the first chip: {hardware.policy.says}\n\n{programmed}\n")
    image = page.png(_draw(found, held))
    report = page.render(
        f"Networks on {name}",
        [
            Section("", [*(f"{text}." for text in (*costs, *notes))]),
            Section("Accuracy", [_SAID, Table(head, rows), *_charts(found, held)], _CAPTION),
            Section("Programming the first chip", [Code(programmed)]),
            Section("The networks on it", [Code("\n\n".join(summaries))]),
        ],
        subtitle=f"mho {mho.__version__} · {setting}",
    )
    numbers = {"chips": chips, "seed": seed, "models": {k: v.to_dict() for k, v in found.items()}}
    _write(out, image, hardware, json.dumps(numbers, indent=1) + "\n", report)
    print(f"Report: {out / 'report.html'}, with accuracy.png, hardware.yaml, numbers.json")


def _write(out: Path, image: bytes, hardware: mho.Hardware, numbers: str, report: str) -> None:
    names = ("accuracy.png", "hardware.yaml", "numbers.json", "report.html")
    with drafts(*(out / name for name in names)) as (picture_file, spec, data, html):
        picture_file.write_bytes(image)
        mho.save_hardware(hardware, spec)
        data.write_text(numbers, encoding="utf-8")
        html.write_text(report, encoding="utf-8")


def around(device: Device, adc_bits: int) -> mho.Hardware:
    """Return the hardware that a device alone is put on."""
    converters: dict[str, Any] = (
        {"dac": mho.DAC(bits=8), "adc": mho.ADC(bits=adc_bits)} if adc_bits else {}
    )
    return mho.Hardware(device=device, array=mho.Array(rows=64, cols=64), **converters)


def digits_tasks(seed: int, names: Collection[str] | None = None) -> dict[str, Task]:
    """Return the demo's networks (all if not named), trained on scikit-learn's digits, by name."""
    # Imported here: the data are an extra, and one's own model needs none of it.
    from mho.demo.data import digits
    from mho.demo.models import MODELS, build
    from mho.demo.train import train

    data = digits(random.derive(seed, "data"))
    tasks = {}
    for name in MODELS if names is None else names:
        model = build(name, random.derive(seed, name, "weights"))
        train(model, data, epochs=25, seed=random.derive(seed, name, "order"), label=name)
        calibration = data.train_x[:_CALIBRATION]
        tasks[f"digits {name}"] = Task(model, data.test_x, data.test_y, calibration)
    return tasks


def _setting(hardware: mho.Hardware, chips: int, seed: int, reads_per_second: float) -> str:
    read = f"{hardware.adc.bits}-bit converters" if hardware.adc else "exact reads"
    tile = f"tiles of {hardware.array.rows} × {hardware.array.cols}"
    worn = f"{reads_per_second:g} reads a second; " if reads_per_second else ""
    written = f"programming: {hardware.policy.says}"
    return f"{chips} chips, {tile}, {read}; {worn}{written}; seed {seed}"


def _rows(found: dict[str, study.Accuracy]) -> list[tuple[str, ...]]:
    first = next(iter(found.values()))
    rows = [
        ("plain PyTorch", *(f"{100 * one.digital:.1f}" for one in found.values())),
        ("ideal cells", *(_said(one.ideal) for one in found.values())),
        ("this device", *(_said(one.chips[:, 0]) for one in found.values())),
    ]
    for k, time in enumerate(first.times[1:], 1):
        later = duration(time)
        rows.append((f"  after {later}", *(_said(one.chips[:, k]) for one in found.values())))
        rows.append(
            ("    recalibrated then", *(_said(one.recalibrated[:, k]) for one in found.values()))
        )
    return rows


def _said(accuracies: Any) -> str:
    if len(accuracies) == 1:
        return f"{100 * float(accuracies[0]):.1f}"
    return f"{100 * float(accuracies.mean()):.1f} ± {100 * float(accuracies.std()):.1f}"


def _cost(label: str, one: study.Accuracy) -> str:
    loss, error = one.loss
    # Chips are compared on the same inputs; other inputs would give other numbers.
    others = (one.digital * (1 - one.digital) / one.samples) ** 0.5
    sure = "" if error != error else f" ± {100 * error:.1f}"
    later = ""
    if len(one.times) > 1:
        lost = [100 * float((one.ideal - a[:, -1]).mean()) for a in (one.chips, one.recalibrated)]
        last = duration(one.times[-1])
        later = f"; after {last} {lost[0]:.1f}, recalibrated then {lost[1]:.1f}"
    return (
        f"{label}: just programmed, the cells cost {100 * loss:.1f}{sure} points against ideal ones"
        f"{later} (± of the mean over chips; {one.samples} test inputs, by themselves good to "
        f"± {100 * others:.1f})"
    )


def _groups(one: study.Accuracy) -> dict[str, Any]:
    return {"plain PyTorch": one.digital, "ideal cells": one.ideal, "this device": one.chips[:, 0]}


def _first_crossbar(analog: Any) -> tuple[Any, Any]:
    layer = next(iter(mho.layers(analog).values()))
    part, crossbar = next(iter(layer.crossbars.items()))
    return crossbar, layer.matrices()[part]


def _charts(found: dict[str, study.Accuracy], analog: Any) -> list[Any]:
    groups = {label: _groups(one) for label, one in found.items()}
    charts: list[Any] = [accuracy_of_groups(groups, title="Just programmed")]
    times = [1.0, *next(iter(found.values())).times[1:]]
    if len(times) > 1:
        series, digital = [], {}
        for (label, one), colour in zip(found.items(), MORE_COLOURS, strict=False):
            series.append(accuracy_series(label, times, one.chips, colour=colour))
            again = f"{label}, recalibrated"
            series.append(
                accuracy_series(again, times, one.recalibrated, colour=colour, dashed=True)
            )
            digital[f"{label}, digital"] = (100 * one.digital, colour)
        ticks = dict(zip(times, ["new", *map(duration, times[1:])], strict=True))
        across = Axis("after programming", log=True, ticks=ticks)
        charts.append(
            lines(series, x=across, y=ACCURACY, title="As time passes", references=digital)
        )
    return [*charts, weights_held(*_first_crossbar(analog), title="Weights held")]


def _draw(found: dict[str, study.Accuracy], analog: Any) -> Figure:
    ages = len(next(iter(found.values())).times) > 1
    figure = Figure(figsize=(13.2 if ages else 9.6, 4.4), layout="constrained")
    panels = list(figure.subplots(1, 3 if ages else 2))
    for k, (label, one) in enumerate(found.items()):
        look = {"colour": COLOURS[k % len(COLOURS)], "label": label}
        shift = 0.3 * (k - (len(found) - 1) / 2)
        plot.accuracy_of_chips(_groups(one), panels[0], shift=shift, **look)
        if ages:
            times = [1.0, *one.times[1:]]
            plot.accuracy_against(times, one.chips, panels[1], baseline=one.digital, **look)
            again: Any = {"colour": look["colour"], "line": "--"}
            plot.accuracy_against(times, one.recalibrated, panels[1], **again)
            plot.time_axis(panels[1], times)
            panels[1].set_xticks(times, ["new", *map(duration, times[1:])])
    panels[0].set_title("just programmed")
    panels[0].yaxis.set_major_locator(MaxNLocator(nbins=8))
    panels[0].margins(y=0.15)
    panels[0].legend(loc="best")
    if ages:
        panels[1].set(title="as time passes", xlabel="after programming")
        panels[1].plot([], [], color=GREY, ls="--", marker="o", mfc="white", label="recalibrated")
        panels[1].legend(loc="lower left")
    first = next(iter(found))
    plot.weight_error(*_first_crossbar(analog), panels[-1])
    panels[-1].set_title("weights held")
    panels[-1].set_ylabel(f"weight held, first layer of {first}")
    return figure
