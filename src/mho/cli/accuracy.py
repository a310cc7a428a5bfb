"""From a device to the accuracy of networks on it: what ``mho accuracy`` does."""

from __future__ import annotations

import json
import os
from pathlib import Path

import mho
from mho import study
from mho.cli import accuracies, given
from mho.core import random
from mho.core.files import drafts
from mho.core.text import table
from mho.plot import page
from mho.plot.page import Code, Section, Table
from mho.runs.work import torch_threads
from mho.study.network import check_reads

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
    name = Path(text).stem
    hardware = given.hardware(text, mho.Array(64, 64), adc_bits, "--adc-bits", dac=8)
    check_reads(hardware, reads_per_second)
    out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made: say so now
    with torch_threads(1):  # the same numbers on any number of cores
        tasks = given.tasks(model, seed)
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
    rows = accuracies.rows(found)
    costs = [accuracies.loss(label, one) for label, one in found.items()]
    notes = list(dict.fromkeys(one.note for one in found.values() if one.note))
    head = ("accuracy (%)", *found)
    setting = _setting(hardware, chips, seed, reads_per_second)
    print(f"{name}: {hardware.device}\n{setting}\n")
    print(table(head, rows) + "\n")
    print("\n".join([*costs, *notes]))
    programmed = "\n\n".join(f"{label}\n{report}" for label, report in reports.items())
    print(f"\nProgramming the first chip: {hardware.policy.says}\n\n{programmed}\n")
    image = page.png(accuracies.draw(found, held))
    report = page.render(
        f"Networks on {name}",
        [
            Section("", [*(f"{text}." for text in (*costs, *notes))]),
            Section(
                "Accuracy",
                [accuracies.SAID, Table(head, rows), *accuracies.charts(found, held)],
                accuracies.CAPTION,
            ),
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


def _setting(hardware: mho.Hardware, chips: int, seed: int, reads_per_second: float) -> str:
    read = f"{hardware.adc.bits}-bit converters" if hardware.adc else "exact reads"
    tile = f"tiles of {hardware.array.rows} × {hardware.array.cols}"
    worn = f"{reads_per_second:g} reads a second; " if reads_per_second else ""
    written = f"programming: {hardware.policy.says}"
    return f"{chips} chips, {tile}, {read}; {worn}{written}; seed {seed}"
