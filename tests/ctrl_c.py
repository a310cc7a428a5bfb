"""Begin what changes models, send this process SIGINT on the way, and tell what is left of it."""

import copy
import json
import os
import random
import signal
import sys
import threading
import time
import warnings

import torch

import mho
from interruptions import differences, fingerprint, network
from mho.devices import ExponentialDevice
from mho.effects import PowerLawDrift, ReadNoise, WriteNoise
from mho.programming import WriteVerify

warnings.simplefilter("ignore")
DEVICE = ExponentialDevice(g_min=1e-6, g_max=1e-4, nonlinearity_set=1.0, c2c=0.02)
EFFECTS = (WriteNoise(0.02), PowerLawDrift(0.05), ReadNoise(0.01))
HARDWARE = mho.Hardware(
    device=DEVICE,
    effects=EFFECTS,
    programming=WriteVerify(max_pulses=300, tolerance=1e-3, on_failure="warn"),
    dac=mho.DAC(6),
    adc=mho.ADC(6),
)
X = torch.rand(256, 24, generator=torch.Generator().manual_seed(1))
BATCHES = X.split(4)


ACTIONS = {
    "age": lambda model: mho.age(model, 1.0),
    "calibrate": lambda model: mho.calibrate(model, BATCHES),
    "compensate": mho.compensate,
    "maintain": lambda model: mho.maintain(model, 1e3, every=10.0),
    "program": mho.program,
    "tune": lambda model: mho.analysis.tune(model, HARDWARE, X, error=0.1, bits=(4, 6)),
    "layers": lambda model: mho.analysis.layers(model, X),
    "fabricate": lambda model: mho.fabricate(model, 9),
    "collapse": mho.collapse,
}


def made():
    model = mho.convert(network(24, 16, 4), HARDWARE, seed=1)
    mho.calibrate(model, X)
    return model.eval()


def seen(model):
    """What a change could be noticed by: all of it, and all that does not tell objects apart."""
    whole = fingerprint({"model": model}, X[:4])
    ids = (" lease", " range_shift")
    return whole, {name: value for name, value in whole.items() if not name.endswith(ids)}


def interrupted(action, model, after):
    """Act, and send SIGINT in so many seconds; return whether it came in time."""
    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        action(model)
        timer.cancel()
        timer.join()
        time.sleep(0.01)
        return False
    except KeyboardInterrupt:
        return True


def told(name, start, chance):
    """Interrupt an action at several times; count what was in time, and name what it left."""
    action, hits, left, slowest = ACTIONS[name], 0, [], 0.0
    twin = copy.deepcopy(start)
    began = time.perf_counter()
    action(twin)
    took = time.perf_counter() - began
    for k in range(6):
        model = copy.deepcopy(start)
        before = seen(model)[0]
        after = took * (k + chance.random()) / 7
        began = time.perf_counter()
        in_time = interrupted(action, model, after)
        slowest = max(slowest, time.perf_counter() - began - after)
        hits += in_time
        if in_time:
            changed = differences(before, seen(model)[0])
            if changed and differences(seen(twin)[1], seen(model)[1]):
                left.append(changed[:4])
    return {"action": name, "hits": hits, "left": left, "slowest": slowest}


if __name__ == "__main__":
    start, chance = made(), random.Random(int(sys.argv[1]))
    for name in ACTIONS:
        print(json.dumps(told(name, start, chance)), flush=True)
