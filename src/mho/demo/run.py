"""The main job: train, convert, vary the chip, report."""

from __future__ import annotations

import time
from itertools import groupby
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

import mho
from mho.core import random
from mho.core.text import table
from mho.demo import figures, report
from mho.demo.data import Samples, digits
from mho.demo.models import MODELS, build, size
from mho.demo.results import LOSS, Curve, Results, accuracy_rows, tolerance_rows
from mho.demo.sweeps import CORES, SWEEPS, chip, measure, on_chips, shorter
from mho.demo.train import accuracy, train
from mho.runs.work import torch_threads


def run(out: Path, *, seed: int = 0, quick: bool = False) -> Results:
    """Run the demo, print what it finds and write its report.

    Args:
        out: folder for the report; it is made if need be.
        seed: of everything random.
        quick: fewer chips, values and epochs: a few seconds.

    Returns:
        All numbers.
    """
    with torch_threads(1):  # the same numbers on any number of cores
        return _run(out, seed, quick)


def _run(out: Path, seed: int, quick: bool) -> Results:
    began = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made: say so now
    chips, epochs = (2, 8) if quick else (8, 25)
    print(
        f"mho {mho.__version__} demo · seed {seed} · {chips} chips per point, {CORES} at a time · "
        f"PyTorch {torch.__version__}\n"
    )
    data = digits(random.derive(seed, "data"))
    models = _train(data, seed, epochs)
    # One container of both networks: one conversion, one summary.
    analog = mho.convert(models, chip(), seed=seed).eval()
    summary = str(mho.summary(analog))
    print(f"\nOn crossbars of the base chip\n\n{summary}\n")
    results = _measure(models, data, seed, chips, quick)
    _print_tables(results)
    layer = mho.layers(analog)["MLP.0"]
    page, *others = report.write(out, results, *figures.draw(results, layer), chip(), summary)
    names = ", ".join(path.name for path in others)
    print(f"\nReport: {page}\n        with {names}\n{time.perf_counter() - began:.0f} s in all.")
    return results


def _train(data: Samples, seed: int, epochs: int) -> nn.ModuleDict:
    print(f"Training on {len(data.train_x)} digits, testing on {len(data.test_x)}")
    models = nn.ModuleDict()
    for name in MODELS:
        began = time.perf_counter()
        model = build(name, random.derive(seed, name, "weights"))
        train(model, data, epochs=epochs, seed=random.derive(seed, name, "order"), label=name)
        print(
            f"  {name}  {size(model):>6,} parameters  {100 * accuracy(model, data):.1f} %  "
            f"({time.perf_counter() - began:.1f} s)"
        )
        models[name] = model
    return models.eval()


def _measure(models: nn.ModuleDict, data: Samples, seed: int, chips: int, quick: bool) -> Results:
    seeds = [random.derive(seed, "chip", i) for i in range(chips)]
    curves = [Curve(shorter(sweep, 3) if quick else sweep, {}) for sweep in SWEEPS]
    base = {}
    points = len(models) * sum(len(curve.sweep.values) for curve in curves)
    with tqdm(total=points, disable=None, unit="point", leave=False) as bar:
        for name, model in models.items():
            bar.set_postfix_str(name)
            base[name] = on_chips(model, chip(), data, seeds)
            for curve in curves:
                curve.accuracies[name] = measure(model, curve.sweep, data, seeds, bar)
    return Results(
        seed=seed,
        chips=chips,
        parameters={name: size(model) for name, model in models.items()},
        digital={name: accuracy(model, data) for name, model in models.items()},
        base=base,
        curves=tuple(curves),
    )


def _print_tables(results: Results) -> None:
    models = tuple(results.digital)
    rows = []
    for effect, group in groupby(accuracy_rows(results), lambda row: row.effect):
        rows += [(effect if i == 0 else "", r.value, *r.cells) for i, r in enumerate(group)]
    head = ("accuracy (%)", "", *models)
    print(f"Mean ± standard deviation over {results.chips} chips, one property varied at a time\n")
    print(table(head, rows, left=2))
    print(f"\nTolerated: at most {100 * LOSS:g} points below the base chip\n")
    print(table(("", *models), [(row.effect, *row.cells) for row in tolerance_rows(results)]))
