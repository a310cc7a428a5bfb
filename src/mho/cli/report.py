"""From a saved model and a hardware to one page: what ``mho report`` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import mho
from mho import study
from mho.analysis import ChipArchitecture, Cost, cost
from mho.analysis.estimates import bound
from mho.cli import accuracies, given, saved
from mho.cli.given import Task
from mho.core import random
from mho.core.extras import need
from mho.core.text import size, table
from mho.model.report import percent
from mho.model.scoring import outputs_of
from mho.runs.work import torch_threads

_CALIBRATION = 100
_RANDOM = 64  # inputs drawn where none are given


class Given(NamedTuple):
    """Inputs, and what they are.

    Attributes:
        inputs: to calibrate with, and of which costs are; None if there are none.
        told: where they come from.
        task: what accuracy is measured with; None if there are no labels.
    """

    inputs: Tensor | None
    told: str
    task: Task | None = None


class Found(NamedTuple):
    """What a report tells.

    Attributes:
        summary: of the model on crossbars.
        estimate: of memory and time on this machine.
        cost: of one inference; None without inputs.
        accuracy: None without labels.
        analog: the first chip.
    """

    summary: mho.Summary
    estimate: mho.Estimate
    cost: Cost | None
    accuracy: study.Accuracy | None
    analog: nn.Module


def run(
    model: str,
    text: str,
    out: Path,
    *,
    network: str | None = None,
    trust: bool = False,
    data: str | None = None,
    shape: tuple[int, ...] | None = None,
    chip: str = "generic_22nm",
    bits: int | None = None,
    chips: int = 4,
    samples: int = 32,
    seed: int = 0,
) -> None:
    """Put a saved model on a hardware; print and write what it is there.

    Args:
        model: see `mho.cli.saved.model`.
        text: the file of a whole hardware; or of a device, or a preset's name, put on arrays of
            the chip's size with converters.
        out: of the HTML file.
        network: ``module:function`` that makes the model which a file of weights is of.
        trust: whether the file of the model may run code.
        data: inputs and labels; see `mho.cli.given.data`.
        shape: of one input, where no inputs are given: random ones are drawn.
        chip: a published chip's name, or the file of an architecture, for the cost.
        bits: of the converters around a device; 8 if not given.
        chips: on which accuracy is measured.
        samples: inputs over which energies are averaged.
        seed: of everything random.

    Raises:
        OSError, ImportError, TypeError, ValueError: if what is given cannot be read, or does not
            belong together.
    """
    # What is missing is said before the work.
    for module in ("matplotlib", "jinja2", "bokeh"):
        need(module, "viz")
    from mho.plot import page

    if out.is_dir():
        raise IsADirectoryError(f"{out} is a folder, not a file to write")
    architecture = given.architecture(chip)
    hardware = given.on_chip(text, architecture, bits, "--bits")
    with torch_threads(1):  # the same numbers on any number of cores
        loaded = saved.model(model, network=network, trust=trust)
        what = _given(loaded, data, shape, seed)
        if what.inputs is not None:
            outputs_of(loaded.model, what.inputs)  # does it take them?
        found = _found(loaded, hardware, architecture, what, chips, samples, seed)
    title = f"{loaded.name} on {Path(text).stem}"
    said = _said(found, what, loaded.name, architecture.name)
    for heading, body in said.items():
        print(f"{heading}\n\n{body}\n")
    sections = [page.Section("", [page.Cards(_cards(found))])]
    sections += [
        page.Section(heading, [*_charts(heading, found, loaded.name), page.Code(body)])
        for heading, body in said.items()
    ]
    subtitle = f"mho {mho.__version__} · {hardware.device} · seed {seed}"
    page.write(out, title, sections, subtitle=subtitle)
    print(f"Report: {out}")


def _given(
    loaded: saved.Saved, data: str | None, shape: tuple[int, ...] | None, seed: int
) -> Given:
    if data is not None:
        if loaded.task is not None:
            raise ValueError(f"{loaded.name} gives data itself: leave out --data")
        if shape is not None:
            raise ValueError("--shape is of random inputs: leave it out, or --data")
        return _split(loaded.model, data)
    if loaded.task is not None:
        if shape is not None:
            raise ValueError(f"{loaded.name} gives inputs itself: leave out --shape")
        return Given(loaded.task.calibration, f"those of {loaded.name}", loaded.task)
    if shape is not None:
        drawn = torch.rand(_RANDOM, *shape, generator=random.generator(seed))
        return Given(drawn, f"{_RANDOM} drawn at random from 0 to 1: no accuracy")
    if loaded.inputs is not None:
        return Given(loaded.inputs, f"the {len(loaded.inputs)} that the program was exported with")
    return Given(None, "none: no cost and no accuracy (give --data or --shape)")


def _split(model: nn.Module, data: str) -> Given:
    inputs, labels = given.data(data, model)
    first = min(_CALIBRATION, len(inputs) // 5)
    if first < 1:
        raise ValueError(f"{data} must hold at least 5 inputs, got {len(inputs)}")
    told = f"{len(inputs):,} of {data}: the first {first} to calibrate, the others to test"
    return Given(inputs[:first], told, Task(model, inputs[first:], labels[first:], inputs[:first]))


def _found(
    loaded: saved.Saved,
    hardware: mho.Hardware,
    architecture: ChipArchitecture,
    what: Given,
    chips: int,
    samples: int,
    seed: int,
) -> Found:
    seeds = [random.derive(seed, "chip", i) for i in range(chips)]
    few = None if what.inputs is None else what.inputs[:samples]
    estimate = mho.estimate(loaded.model, hardware, few)
    analog = mho.convert(loaded.model, hardware, seed=seeds[0])
    costs = accuracy = None
    if what.inputs is not None and few is not None:
        mho.calibrate(analog, what.inputs)
        costs = cost(analog, few, architecture, programming=mho.program(analog))
    if what.task is not None:
        accuracy = study.accuracy(
            loaded.model,
            hardware,
            what.task.inputs,
            what.task.labels,
            calibration=what.task.calibration,
            seeds=seeds,
            label=loaded.name,
        )
    return Found(mho.summary(analog, few), estimate, costs, accuracy, analog)


def _said(found: Found, what: Given, name: str, chip: str) -> dict[str, str]:
    said = {
        "On crossbars": f"{found.summary}\n\ninputs: {what.told}",
        "Memory and time of the simulation": str(found.estimate),
    }
    if found.cost is not None:
        said[f"One inference on {chip}"] = str(found.cost)
    if found.accuracy is not None:
        results = {name: found.accuracy}
        rows = table(("accuracy (%)", name), accuracies.rows(results))
        notes = [accuracies.loss(name, found.accuracy), found.accuracy.note]
        said["Accuracy"] = "\n\n".join([rows, *filter(None, notes)])
    return said


def _cards(found: Found) -> list[tuple[str, str, str]]:
    shares = found.summary.shares
    cards = [
        ("tiles", f"{found.summary.tiles:,}", f"{found.summary.cells:,} cells"),
        ("memory", size(found.estimate.converted), "of the converted model, simulated"),
    ]
    if shares is not None:
        weights = percent(shares.weights, shares.of_weights)
        cards.insert(0, ("on crossbars", weights, "of matrix weights"))
    if found.cost is not None:
        for name, value, unit, what in (
            ("energy", found.cost.energy, "J", "an inference"),
            ("latency", found.cost.latency, "s", "of one inference"),
        ):
            number, _, span = bound(value, found.cost.counted(name), unit).partition(" (")
            cards.append((name, number, f"{what} ({span}" if span else what))
    if found.accuracy is not None:
        accuracy = 100 * float(found.accuracy.chips[:, 0].mean())
        digital = 100 * found.accuracy.digital
        cards.append(("accuracy", f"{accuracy:.1f} %", f"{digital:.1f} % in plain PyTorch"))
    return cards


def _charts(heading: str, found: Found, name: str) -> list[Any]:
    if heading == "Accuracy" and found.accuracy is not None:
        return accuracies.charts({name: found.accuracy}, found.analog)
    if heading.startswith("One inference") and found.cost is not None:
        from matplotlib.figure import Figure

        from mho import plot

        figure = Figure(figsize=(7.2, 4.4), layout="constrained")
        plot.cost_breakdown(found.cost, figure.subplots())
        return [figure]
    return []
