"""What `mho.train.check_device` proposes, against the best of a small search: digits, 64-32-10.

    python benchmarks/advice.py [--devices ag_a_si,…] [--rounds 500] [--seeds 2]
        [--only search|advice] [--settings NAMES] [--tables DIRECTORY]

Devices are all pulse-count presets, and fits (`mho.fit.pulses`, by the law it chooses) to responses
of measured jump tables, where these are (``--tables``: of the names
``optuna_exp_1.35V_set_cdf.txt``); ``--law soft_bounds`` forces a law that does not fit them. A
round is a step of training. The search is over rules, learning rates and the threshold of mixed
precision. Prints a JSON line for each device and setting: its accuracy on the test images (%), the
mean of the last fifth of training and of all seeds, that of each seed, and processor seconds.
"""

import time
import warnings
from pathlib import Path

import torch
from torch import nn

from mho import fit
from mho.demo.data import digits
from mho.devices import TabularDevice, presets
from mho.devices.pulsed import PulsedDevice
from mho.train import AGAD, DifferentialPair, InSitu, PulsedSGD, TikiTaka, check_device
from timing import options, report

TABLES = Path(__file__).resolve().parents[2] / "shared/data/xbtorch_tables/tabular/experimental"
MEASURED = ("optuna_exp_1.35V", "optuna_exp_1.5V", "optuna_exp_1.65V", "optuna_exp_1.8V")


def mixed(layout, threshold=1.0):
    """Return an optimizer that adds changes up digitally until they are worth some pulses."""
    kind = {"threshold": threshold} | ({} if layout is None else {"layout": layout})
    return lambda model, device, lr: InSitu(
        torch.optim.SGD(model.parameters(), lr), device, model=model, **kind
    )


RULES = {
    "PulsedSGD": lambda model, device, lr: PulsedSGD(model, lr, device=device),
    "TikiTakaV2": lambda model, device, lr: TikiTaka(model, lr, device=device),
    "AGAD": lambda model, device, lr: TikiTaka(model, lr, device=device, rule=AGAD()),
    "mixed precision": mixed(None),
    "mixed precision, pairs": mixed(DifferentialPair()),
    "mixed precision, threshold 2": mixed(None, 2.0),
    "mixed precision, pairs, threshold 2": mixed(DifferentialPair(), 2.0),
}
SEARCH = {
    f"{name}, lr {lr:g}": lambda model, device, make=make, lr=lr: make(model, device, lr)
    for name, make in RULES.items()
    for lr in (0.3, 1.0)
}


def advised(digital):
    """Return what makes the proposed optimizer."""
    some = digits(0).train_x[:256]
    return lambda model, device: check_device(device, model, some, digital=digital).optimizer(model)


ADVICE = {"advice": advised(True), "advice, without digital memory": advised(False)}


def devices(tables, law):
    """Yield names and devices: presets, then fits to measured tables."""
    for preset in presets.list():
        device = presets.get(preset.name)
        if isinstance(device, PulsedDevice):
            yield preset.name, device
    for stem in MEASURED if tables.is_dir() else ():
        cells = TabularDevice.from_tables(tables / stem).fabricate((1,), seed=0)
        response = cells.respond(100, cycles=10)[:, :, 0]
        yield f"fit to {stem}", fit.pulses(tuple(response.numpy()), law=law).device


def train(make, device, data, steps, seed=0):
    """Return the accuracy (%) of the last fifth of training, and processor seconds."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
    began, found = time.process_time(), []
    optimizer = make(model, device)
    for step in range(steps):
        batch = torch.randint(len(data.train_x), (32,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(data.train_x[batch]), data.train_y[batch]).backward()
        optimizer.step()
        if step >= 0.8 * steps and step % 10 == 9:
            with torch.no_grad():
                found.append((model(data.test_x).argmax(1) == data.test_y).float().mean())
    return 100.0 * float(torch.stack(found).mean()), time.process_time() - began


def main():
    given = options(
        __doc__,
        rounds=500,
        quick=50,
        devices={"help": "some of them, by name and comma"},
        seeds={"type": int, "default": 2, "help": "of weights, cells and batches (%(default)s)"},
        only={"choices": ("search", "advice")},
        settings={"default": "", "help": "those whose names begin so, by semicolon"},
        tables={"type": Path, "default": TABLES},
        law={"default": "best", "help": "of the fits to measured tables"},
    )
    data = digits(0)
    settings = {
        **({} if given.only == "advice" else SEARCH),
        **({} if given.only == "search" else ADVICE),
    }
    for name, device in devices(given.tables, given.law):
        if given.devices and name not in given.devices.split(","):
            continue
        for setting, make in settings.items():
            if not setting.startswith(tuple(given.settings.split(";"))):
                continue
            row = {"device": name, "setting": setting}
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                try:
                    runs = [train(make, device, data, given.rounds, s) for s in range(given.seeds)]
                    each, seconds = zip(*runs, strict=True)
                    row |= {
                        "accuracy": round(sum(each) / len(each), 1),
                        "seeds": [round(one, 1) for one in each],
                        "seconds": round(sum(seconds), 1),
                    }
                except ValueError as refused:
                    row["refused"] = str(refused)
            row["told"] = sorted({str(one.message)[:60] for one in told})
            report("advice", **row)


if __name__ == "__main__":
    main()
