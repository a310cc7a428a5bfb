"""Studies whose answers are known, for tests of what is read from them."""

import itertools

import numpy as np

from mho.devices import presets
from mho.study import Outcome, Record

DEVICES = ("pcm_joshi", "reram_wan", "alox_hfo2")
GOALS = {"accuracy": "maximize", "energy": "minimize"}


def outcome(rows, *, objectives=GOALS, units=None, name="made"):
    """Return a study of rows ``(settings, [results of each chip, or an error])``."""
    records = []
    for trial, (settings, chips) in enumerate(rows):
        for seed, found in enumerate(chips):
            failed = isinstance(found, str)
            records.append(
                Record(
                    trial, seed, settings, {} if failed else found, found if failed else None, 0.5
                )
            )
    return Outcome(name, tuple(records), dict(objectives), units or {})


def hardware_study(chips=4, noise=0.004, seed=0):
    """Return a full grid over bits, tiles and devices; one chip failed."""
    rng = np.random.default_rng(seed)
    rows = []
    for bits, tile, device in itertools.product((4, 5, 6, 7, 8), (32, 64, 128, 256), DEVICES):
        settings = {
            "adc.bits": bits, "tile": tile, "device": presets.get(device).to_dict()
        }  # fmt: skip
        energy = 2.0**bits * 1e-10 * (1 + 64 / tile)
        found = []
        for chip in range(chips):
            accuracy = 0.98 - 0.5 * 2.0**-bits * (1 + tile / 256) - 0.01 * DEVICES.index(device)
            accuracy += noise * rng.standard_normal()
            bad = len(rows) == 7 and chip == 2
            found.append(
                "MemoryError: too large" if bad else {"accuracy": accuracy, "energy": energy}
            )
        rows.append((settings, found))
    return outcome(rows, units={"energy": "J"})
