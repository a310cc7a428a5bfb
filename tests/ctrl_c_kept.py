"""Send this process SIGINT while it fits and sweeps, begin again, and tell what became of it."""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

import small_studies
from mho import study, train
from mho.devices import SoftBoundsDevice

warnings.simplefilter("ignore")
X = torch.randn(64, 6, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > 0).long()
SPACE = {"adc.bits": [4, 5]}
TIMES = int(sys.argv[2])  # of the signal, each


def parts(kind):
    """Model, optimizer and schedule of a run, the same every time."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.2), nn.Tanh(), nn.Linear(8, 2))
    if kind == "in situ":
        optimizer = train.InSitu(torch.optim.SGD(model.parameters(), 0.1), SoftBoundsDevice())
    elif kind == "transfers":
        optimizer = train.TikiTaka(model, 0.5, device=SoftBoundsDevice(c2c=0.1))
    else:
        optimizer = torch.optim.Adam(model.parameters(), 0.02)
    return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 5, gamma=0.9)


def fitted(given, path):
    model, optimizer, schedule = given
    history = train.fit(
        model, optimizer, (X, Y), functional.cross_entropy, epochs=3, batch=16, seed=9,
        schedule=schedule, checkpoint=path, every=None if path is None else 1,
    )  # fmt: skip
    rates = [group["lr"] for group in optimizer.param_groups]
    return history.loss, rates, dict(model.state_dict())


class Fit:
    """A fit, begun again with what the interrupted one left in memory, or anew."""

    def __init__(self, kind, folder):
        self.kind, self.path, self.held = kind, folder / "run.pt", None

    def alone(self):
        return fitted(parts(self.kind), None)

    def go(self, chance):
        if self.held is None or not self.path.exists() or chance.random() < 0.5:
            self.held = parts(self.kind)
        return fitted(self.held, self.path)

    def whole(self):
        if self.path.exists():
            torch.load(self.path, weights_only=True)
        return {path.name for path in self.path.parent.iterdir()} <= {"run.pt", ".run.pt.lock"}


class Sweep:
    """A study of chips, in this process."""

    def __init__(self, ending, folder):
        self.store = folder / f"study{ending}"

    def of(self, store):
        slow = small_studies.Slow(0.002, os.devnull)
        found = study.sweep(
            SPACE, slow, hardware=small_studies.HARDWARE, workers=0, chips=3,
            store=store,
        )  # fmt: skip
        return small_studies.table(found)

    def alone(self):
        return self.of(None)

    def go(self, _):
        return self.of(self.store)

    def whole(self):
        names = {path.name for path in self.store.parent.iterdir()}
        own = {f"{self.store.name}{end}" for end in ("", ".lock", "-wal", "-shm", "-journal")}
        return names <= own


RUNS = {
    "fit, plain": lambda folder: Fit("plain", folder),
    "fit, in situ": lambda folder: Fit("in situ", folder),
    "fit, transfers": lambda folder: Fit("transfers", folder),
    "sweep, journal": lambda folder: Sweep(".journal", folder),
    "sweep, database": lambda folder: Sweep(".db", folder),
}


def interrupted(call, after):
    """Call, and send SIGINT in so many seconds; return what it gave, or the interruption."""
    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        try:
            found = call()
        finally:
            timer.cancel()
            timer.join()
            time.sleep(0.01)
        return found, None
    except KeyboardInterrupt as error:
        return None, error  # held, as a notebook holds the last


def alike(one, two):
    if isinstance(one, torch.Tensor):
        return torch.equal(one.nan_to_num(nan=-7.5), two.nan_to_num(nan=-7.5))
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(alike(one[k], two[k]) for k in one)
    if isinstance(one, tuple):
        return all(map(alike, one, two))
    return one == two


def told(name, folder, chance):
    """Interrupt a run again and again, then let it end; compare it with one that never was."""
    run, hits, spoiled, slowest, errors = RUNS[name](folder), 0, 0, 0.0, []
    (folder / "warm").mkdir()
    RUNS[name](folder / "warm").go(chance)  # modules half imported are Python's matter
    shutil.rmtree(folder / "warm")
    expected = run.alone()
    found = None
    while found is None and hits < TIMES:
        after = chance.uniform(0.005, 0.12)
        began = time.perf_counter()
        try:
            found, held = interrupted(lambda: run.go(chance), after)
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")
            break
        if held is not None:
            slowest = max(slowest, time.perf_counter() - began - after)
            hits += 1
            spoiled += not run.whole()
    same = not errors and alike(expected, found if found is not None else run.go(chance))
    return {"run": name, "hits": hits, "spoiled": spoiled, "errors": errors, "same": same,
            "slowest": slowest}  # fmt: skip


if __name__ == "__main__":
    chance = random.Random(int(sys.argv[1]))
    for name in RUNS:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(told(name, Path(folder), chance)), flush=True)
