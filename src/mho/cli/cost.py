"""From a hardware to what networks cost on a chip: what ``mho cost`` does."""

from __future__ import annotations

from pathlib import Path

import mho
from mho.analysis import cost
from mho.chip import place
from mho.cli import given
from mho.cli.pictures import format_of
from mho.core.files import drafts
from mho.runs.work import torch_threads


def run(
    text: str,
    chip: str,
    *,
    model: str | None = None,
    bits: int | None = None,
    samples: int = 32,
    figure: Path | None = None,
    policy: str | None = None,
    cores: int | None = None,
    copies: bool = False,
    seed: int = 0,
) -> None:
    """Print what networks cost on a chip, and draw it if asked to.

    Args:
        text: the file of a whole hardware; or of a device, or a preset's name, put on
            arrays of the chip's size with converters.
        chip: a published chip's name, or the file of an architecture.
        model: ``module:function`` of one's own network; the digits networks if not given.
        bits: of the converters around a device; 8 if not given.
        samples: inputs over which energies are averaged.
        figure: where a picture of the energies goes; of several networks the first one's.
        policy: by which the network is put on the chip's cores (`mho.chip.place`); None: there are
            as many arrays as it takes.
        cores: on the chip, where the architecture leaves that open.
        copies: whether free cores hold copies of the layers that hold up the others.
        seed: of everything random.

    Raises:
        ValueError: if cores or copies are said without a policy, bits are given for a hardware,
            which has converters of its own, or the chip does not suit the hardware or is too small.
    """
    if policy is None and (cores is not None or copies):
        raise ValueError("--cores and --copies are of a network on a chip's cores: give --policy")
    if figure is not None:
        format_of(figure)
    architecture = given.architecture(chip)
    hardware = given.on_chip(text, architecture, bits, "--bits")
    if policy is not None and cores is None and architecture.cores is None:
        raise ValueError(f"{architecture.name} does not say how many cores it has: give --cores")
    with torch_threads(1):  # the same numbers on any number of cores
        for number, (label, task) in enumerate(given.tasks(model, seed).items()):
            analog = mho.convert(task.model, hardware, seed=seed)
            mho.calibrate(analog, task.calibration)
            report = mho.program(analog)
            inputs, mapping = task.inputs[:samples], None
            if policy is not None:
                mapping = place(
                    analog,
                    architecture.cores_for(hardware, cores),
                    policy,
                    inputs=inputs,
                    copies="balanced" if copies else None,
                )
                print(f"{label}: {mapping}\n")
            found = cost(analog, inputs, architecture, programming=report, mapping=mapping)
            print(f"{label}: {found}\n")
            if figure is not None and number == 0:
                _draw(found, figure)


def _draw(found: mho.analysis.Cost, path: Path) -> None:
    from matplotlib.figure import Figure

    from mho import plot

    with plot.style(), drafts(path) as (draft,):
        figure = Figure(figsize=(7.2, 4.4), layout="constrained")
        plot.cost_breakdown(found, figure.subplots())
        figure.savefig(draft, format=format_of(path))
