"""Which learning rule for which cells: from 4 to 1,200 states, asymmetric and noisy, ten seeds.

    python examples/learning_rules.py [--quick] [--seeds 10] [--devices 4 10 40 1200]
        [--data digits mnist1d] [--workers 2] [--out learning_rules]

A small convolutional network learns scikit-learn's digits, a small perceptron mnist1d, on cells
with soft bounds, so many pulses across their window, by plain pulsed SGD, Tiki-Taka v2, its chopped
form, AGAD, mixed precision and multi-tile residual learning. Every rule has the same small search:
six learning rates, one seed each, half the epochs, judged on a fifth of the training samples; all
else is as by default. Then every seed trains with what was found. Prints accuracy, cells and
digital numbers a weight, pulses a weight and their energy; draws them over the states; writes JSON
lines. Stop it at any time: started again, it goes on.
"""

import functools
import json
import time
from dataclasses import dataclass, field

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

from example_options import parsed, save_figure
from mho.core import text
from mho.core.files import aside
from mho.demo import data
from mho.devices import SoftBoundsDevice
from mho.plot import accuracy_against, style
from mho.plot.styles import GREY, MORE_COLOURS
from mho.study import sweep
from mho.train import (
    AGAD,
    Chopped,
    MixedPrecision,
    MultiTileResidual,
    PulsedSGD,
    TikiTaka,
    TikiTakaV2,
    TileSGD,
    fit,
)
from mho.train.on_cells import WeightCells

STATES = (4, 10, 40, 1200)
RATES = (0.02, 0.05, 0.1, 0.25, 0.6, 1.5)
SEARCH = 1000  # the seed of the search
BATCH, EPOCHS = 16, {"digits": 10, "mnist1d": 10}
# An assumption, the same for all: what a pulse of 1 V and 10 ns takes in a cell at mid-window (J).
PULSE = 1.0**2 * 51e-6 * 10e-9


def cells(states):
    """Return the device: ``states`` steps across its window at its middle."""
    step = 100e-6 / states
    return SoftBoundsDevice(g_min=1e-6, g_max=101e-6, step=step, asymmetry=0.2, c2c=0.3, d2d=0.1)


def transfer(rule):
    return lambda model, lr, device, seed: TikiTaka(model, lr, device=device, rule=rule, seed=seed)


def tiles(rule):
    return lambda model, lr, device, seed: TileSGD(model, lr, device=device, rule=rule, seed=seed)


RULES = {
    "pulsed SGD": lambda model, lr, device, seed: PulsedSGD(model, lr, device=device, seed=seed),
    "Tiki-Taka v2": transfer(TikiTakaV2()),
    "c-TTv2": transfer(Chopped()),
    "AGAD": transfer(AGAD()),
    "mixed precision": tiles(MixedPrecision()),
    "multi-tile residual": tiles(MultiTileResidual()),
}
DIGITAL = "digital SGD"


def convolutional():
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(72, 32), nn.Tanh(), nn.Linear(32, 10),
    )  # fmt: skip


def perceptron():
    return nn.Sequential(nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 10))


NETWORKS = {"digits": convolutional, "mnist1d": perceptron}


@functools.cache
def samples(name, seed):
    return data.digits(seed) if name == "digits" else data.mnist1d(seed, 2500)


def held_back(found):
    """Return the training samples alone, a fifth of them in place of the tests."""
    fifth = len(found.train_x) // 5
    x, y = found.train_x, found.train_y
    return data.Samples(x[fifth:], y[fifth:], x[:fifth], y[:fifth])


def spent(optimizer):
    """Return pulses, energy (J), cells and digital numbers a weight of all that is on cells."""
    arrays = list(optimizer.arrays.values())
    weights = sum(array.read().numel() for array in arrays)
    parts = [m for array in arrays for m in array.modules() if isinstance(m, WeightCells)]
    pulses = sum(int(part.writes.sum()) for part in parts)
    own = {id(buffer) for part in parts for buffer in part.buffers()}
    digital = [b for a in arrays for b in a.buffers() if id(b) not in own and b.is_floating_point()]
    return {
        "pulses": pulses / weights,
        "energy": PULSE * pulses / weights,
        "cells": sum(part.writes.numel() for part in parts) / weights,
        "digital": sum(b.numel() for b in digital) / weights,
    }


@dataclass(frozen=True)
class Train:
    """Trains one network by one rule on one kind of cells; what a study evaluates.

    Attributes:
        share: of the epochs.
        search: whether a part of the training samples stands in place of the tests.
        rates: learning rates by data, states and rule, where the study does not say them.
    """

    share: float = 1.0
    search: bool = False
    rates: dict = field(default_factory=dict)
    objectives = {"accuracy": "maximize"}  # noqa: RUF012

    @property
    def identity(self):
        """What makes it this study, for the store."""
        rates = {"/".join(map(str, case)): lr for case, lr in self.rates.items()}
        return {"share": self.share, "search": self.search, "rates": rates, "epochs": EPOCHS}

    def __call__(self, hardware, seed, settings):
        """Return what one run found and spent."""
        name, states, rule = case = settings["data"], settings["states"], settings["rule"]
        lr = self.rates[case] if self.rates else settings["lr"]
        found = samples(name, seed)
        found = held_back(found) if self.search else found
        torch.manual_seed(seed)
        model = NETWORKS[name]()
        if rule == DIGITAL:
            optimizer = torch.optim.SGD(model.parameters(), lr)
        else:
            optimizer = RULES[rule](model, lr, cells(states), seed)
        epochs = max(1, round(self.share * EPOCHS[name]))
        given, began = (found.train_x, found.train_y), time.process_time()
        fit(model, optimizer, given, F.cross_entropy, epochs=epochs, batch=BATCH, seed=seed)
        with torch.no_grad():
            hits = model(found.test_x).argmax(1) == found.test_y
        row = {"accuracy": float(hits.float().mean()), "rate": lr}
        row["cpu_seconds"] = time.process_time() - began
        return row if rule == DIGITAL else row | spent(optimizer)


def by_case(records, result="accuracy"):
    """Return a result of all runs by data, states and rule, then by the learning rate asked for."""
    found = {}
    for record in records:
        where = record.settings["data"], record.settings["states"], record.settings["rule"]
        rates = found.setdefault(where, {})
        value = record.results.get(result, float("nan"))
        rates.setdefault(record.settings.get("lr"), []).append(value)
    return found


def final(records, result="accuracy"):
    """Return a result of all final runs ``[seeds]`` by data, states and rule."""
    return {case: by[None] for case, by in by_case(records, result).items()}


def compare(names, states, seeds, workers, share, folder):
    """Search the learning rates of every rule, then train with the best; return all final runs.

    Every rule is a study of its own: one that is changed or added leaves the others as they are.
    """
    asked = "_".join(map(str, (*names, *states, f"{seeds}seeds", f"share{share:g}")))
    store = folder / f"{asked}.journal"

    def study(name, evaluate, chips, rule, **more):
        space = {"data": list(names), "states": own, "rule": [rule], **more}
        return sweep(
            space, evaluate, chips=chips, free=list(space), store=store,
            name=f"{name}, {rule}", workers=workers, label=f"{name}, {rule}",
        )  # fmt: skip

    records = []
    for rule in (DIGITAL, *RULES):
        own = [0] if rule == DIGITAL else list(states)
        searched = study("search", Train(share / 2, search=True), [SEARCH], rule, lr=list(RATES))
        rates = {
            case: max(by_rate, key=lambda lr, by=by_rate: sum(by[lr]))
            for case, by_rate in by_case(searched.records).items()
        }
        final = study("final", Train(share, rates=rates), list(range(seeds)), rule)
        records += final.records
    return records


def middle(values):
    found = torch.tensor(values, dtype=torch.float64)
    return float(found.mean()), float(found.std()) if len(found) > 1 else 0.0


def said(number):
    return f"{number:,.0f}" if number >= 100 else f"{number:.2g}"


def show(records):
    """Print the table."""
    names = ("accuracy", "cells", "digital", "pulses", "energy", "rate", "cpu_seconds")
    columns = {name: final(records, name) for name in names}
    rows = []
    for data_name, states, rule in sorted(columns["accuracy"], key=lambda case: case[:2]):
        found = {name: middle(column[data_name, states, rule]) for name, column in columns.items()}
        mean, spread = found["accuracy"]
        at = {name: value for name, (value, _) in found.items()}
        row = [data_name, f"{states:,}", rule, f"{100 * mean:.1f} ± {100 * spread:.1f}"]
        if rule == DIGITAL:
            row[1], spent_there = "–", ["–"] * 4
        else:
            spent_there = [
                f"{at['cells']:.0f}", f"{at['digital']:.1f}", said(at["pulses"]),
                said(1e12 * at["energy"]),
            ]  # fmt: skip
        rows.append((*row, *spent_there, f"{at['rate']:g}", f"{at['cpu_seconds']:.1f}"))
    head = ("data", "states", "rule", "accuracy (%)", "cells", "digital", "pulses", "pJ", "lr", "s")
    print(text.table(head, rows, left=3))
    print(f"Of each weight; a pulse is taken for {1e12 * PULSE:.2f} pJ; s: processor, of a run.")


def draw(records, path):
    """Draw accuracy, and pulses with their energy, over the states."""
    accuracy, pulses, number = (final(records, of) for of in ("accuracy", "pulses", "cells"))
    names = list(dict.fromkeys(case[0] for case in accuracy))
    states = sorted({case[1] for case in accuracy} - {0})
    with style():
        figure, axes = plt.subplots(
            2, len(names), figsize=(3.4 + 3.6 * len(names), 6.4), sharex=True, squeeze=False,
            layout="constrained",
        )  # fmt: skip
        for (above, below), name in zip(axes.T, names, strict=True):
            line = 100 * middle(accuracy[name, 0, DIGITAL])[0]
            above.axhline(line, color=GREY, linestyle=":", label=DIGITAL)
            for colour, rule in zip(MORE_COLOURS, RULES, strict=False):
                runs = torch.tensor([accuracy[name, n, rule] for n in states]).T
                count = number[name, states[0], rule][0]
                label = f"{rule}, {count:.0f} cell{'s' if count > 1 else ''}"
                accuracy_against(states, runs, above, label=label, colour=colour)
                middles = [middle(pulses[name, n, rule])[0] for n in states]
                below.plot(states, middles, color=colour, marker="o")
            above.set(title=name, xscale="log")
            below.set(yscale="log", xlabel="states of a cell", ylabel="pulses a weight")
            below.set_xticks(states, [f"{n:,}" for n in states])
            below.minorticks_off()
            energy = below.secondary_yaxis(
                "right", functions=(lambda n: 1e12 * PULSE * n, lambda e: e / (1e12 * PULSE))
            )
            energy.set_ylabel("energy a weight (pJ)")
            above.get_legend().remove()
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        save_figure(figure, path)


def main():
    more = {
        "--seeds": {"type": int, "help": "of the final runs (10)"},
        "--data": {"nargs": "+", "choices": list(NETWORKS), "help": "what is learnt (both)"},
        "--devices": {"type": int, "nargs": "+", "help": "states of the cells (4 10 40 1200)"},
        "--workers": {"type": int, "help": "processes (as many as cores)"},
    }
    told = "digits alone, two seeds, 4 and 40 states, a tenth of the epochs"
    options = parsed(__doc__, "learning_rules", quick=told, more=more)
    quick = options.quick
    names = options.data or (["digits"] if quick else list(NETWORKS))
    states = options.devices or ([4, 40] if quick else list(STATES))
    seeds = options.seeds or (2 if quick else 10)
    share = 0.1 if quick else 1.0
    records = compare(names, states, seeds, options.workers, share, options.out)
    show(records)
    with aside(options.out / "runs.jsonl") as draft:
        rows = (
            {**record.settings, "seed": record.seed, **record.results, "error": record.error}
            for record in records
        )
        draft.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    draw(records, options.out / "learning_rules.png")


if __name__ == "__main__":
    main()
