"""A small study, and processes that carry it out; what they find does not depend on who does it."""

import multiprocessing
import os
import time

import mho
from mho.runs import pool
from mho.study import sweep

HARDWARE = mho.Hardware(
    adc=mho.ADC(bits=8),
    effects=(mho.effects.StuckAt(low=0.01), mho.effects.WriteNoise(sigma=0.05)),
)
SPACE = {
    "adc.bits": [4, 5, 6],
    "effects.StuckAt.low": [0.0, 0.1],
    "array.wires.word": [0.5, 1.0],
}
FORK = multiprocessing.get_context("fork")


def evaluate(hardware, seed, settings):
    """A number that every setting and the seed move; five bits with seed 1 fail."""
    if hardware.adc.bits == 5 and seed == 1:
        raise RuntimeError("no such\nconverter")
    stuck = hardware.effects[0].low
    return hardware.adc.bits / 3 - stuck + 0.01 * seed - hardware.array.wires.word / 7


class Slow:
    """The same, slowly; writes down what it has begun."""

    def __init__(self, seconds, log):
        self.seconds, self.log = seconds, str(log)

    def __call__(self, hardware, seed, settings):
        with open(self.log, "a") as log:  # one write of a short line: whole, whoever else writes
            log.write(f"{sorted(settings.items())} {seed}\n")
        time.sleep(self.seconds)
        return evaluate(hardware, seed, settings)


def table(outcome):
    """What must be the same whoever did it."""
    return [(r.trial, r.seed, dict(r.settings), dict(r.results), r.error) for r in outcome.records]


def carry_out(space, slow, settings, workers=2):
    """Run a study in a process group of its own, to be killed from outside."""
    os.setpgid(0, 0)
    pool.METHOD = "fork"  # workers that begin at once: tests are small, and hold no threads
    sweep(space, slow, hardware=HARDWARE, workers=workers, **settings)


def begun(space, slow, settings):
    """Begin a process that carries out a study."""
    process = FORK.Process(target=carry_out, args=(space, slow, settings))
    process.start()
    return process
