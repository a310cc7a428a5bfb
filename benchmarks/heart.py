"""The cost of the heart beside plain PyTorch, in one run. Prints JSON lines.

    python benchmarks/heart.py [--rounds 200] [--threads 1 2] [--large]

Ratios compare medians of interleaved rounds; a machine that is busy with other things makes them
larger. The last rows do not depend on it: memory, and the calls that a training read makes.
``--large`` adds the 50-million-weight model, in a process of its own so that its peak memory is
its own. ``--quick`` tries the first number of threads alone.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
import warnings
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import FrameType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mho
from timing import medians, options, report

CONVERTERS = {"dac": mho.DAC(bits=8), "adc": mho.ADC(bits=8)}
READ_NOISE = (mho.effects.ReadNoise(sigma=0.01),)
WRITE_NOISE = (mho.effects.WriteNoise(sigma=0.01),)
STUCK = (mho.effects.StuckAt(low=0.01, high=0.01), *WRITE_NOISE)
FOUR_EFFECTS = (*STUCK, mho.effects.PowerLawDrift(nu=0.06, nu_spread=0.02), *READ_NOISE)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 10),
    )


def on_crossbars(model: nn.Module, inputs: Tensor, **parts: object) -> nn.Module:
    analog = mho.convert(model, mho.Hardware(**parts))
    mho.calibrate(analog, inputs)
    return analog


def step(model: nn.Module, inputs: Tensor, labels: Tensor) -> object:
    optimizer = torch.optim.SGD(model.train().parameters(), lr=0.01)

    def one() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    return one


def conversion(rounds: int) -> None:
    model = mlp()
    hardware = mho.Hardware(**CONVERTERS)
    full = hardware.replace(effects=FOUR_EFFECTS)
    times = medians(
        {
            "converters": lambda: mho.convert(model, hardware),
            "all four effects": lambda: mho.convert(model, full),
        },
        rounds,
    )
    for name, seconds in times.items():
        report("convert + program", hardware=name, milliseconds=round(seconds * 1e3, 2))


def inference(rounds: int) -> None:
    model, x = mlp().eval(), torch.rand(256, 784)
    kinds = {
        "collapsed": on_crossbars(model, x),
        "converters": on_crossbars(model, x, **CONVERTERS),
        "converters + read noise": on_crossbars(model, x, **CONVERTERS, effects=READ_NOISE),
    }
    with torch.no_grad():
        compare("inference, MLP, batch 256", model, kinds, x, rounds)


def convolution(rounds: int) -> None:
    model, x = cnn().eval(), torch.rand(64, 1, 28, 28)
    kinds = {
        "collapsed": on_crossbars(model, x),
        "converters": on_crossbars(model, x, **CONVERTERS),
        "converters + read noise": on_crossbars(model, x, **CONVERTERS, effects=READ_NOISE),
    }
    with torch.no_grad():
        compare("inference, CNN, batch 64", model, kinds, x, rounds)


def compare(
    name: str, model: nn.Module, kinds: dict[str, nn.Module], x: Tensor, rounds: int
) -> None:
    work = {"plain": lambda: model(x)}
    work |= {kind: partial(analog.eval(), x) for kind, analog in kinds.items()}
    show(name, medians(work, rounds))


def show(name: str, times: dict[str, float]) -> None:
    plain = times.pop("plain")
    for kind, seconds in times.items():
        report(
            name,
            hardware=kind,
            plain_ms=round(plain * 1e3, 3),
            milliseconds=round(seconds * 1e3, 3),
            ratio=round(seconds / plain, 2),
        )


def training(rounds: int) -> None:
    model, x = mlp(), torch.rand(128, 784)
    labels = torch.randint(0, 10, (128,))
    work = {
        "plain": step(model, x, labels),
        "write noise + converters": step(
            on_crossbars(model, x, **CONVERTERS, effects=WRITE_NOISE), x, labels
        ),
        "stuck + write noise + converters": step(
            on_crossbars(model, x, **CONVERTERS, effects=STUCK), x, labels
        ),
    }
    show("training step, MLP, batch 128", medians(work, rounds))


def memory() -> None:
    """Bytes that crossbars keep between reads, for each weight of the model."""
    report("memory beyond the model", bytes_per_weight=round(kept(**CONVERTERS), 1))
    full = kept(**CONVERTERS, effects=FOUR_EFFECTS)
    name = "memory beyond the model, four effects and converters"
    report(name, bytes_per_weight=round(full, 1))


def kept(**parts: object) -> float:
    model = mlp()
    weights = sum(m.weight.numel() for m in model if isinstance(m, nn.Linear))
    analog = on_crossbars(model, torch.rand(16, 784), **parts)
    held = 0
    for layer in mho.layers(analog).values():
        for crossbar in layer.crossbars.values():
            tensors = list(crossbar.buffers())
            tensors += [t for t in (crossbar.reader.stored or ()) if isinstance(t, Tensor)]
            held += sum(
                t.untyped_storage().nbytes() for t in {t.data_ptr(): t for t in tensors}.values()
            )
    return held / weights


def calls() -> None:
    """Calls into the package in one training read of a Linear, and changes of file between them."""
    root = str(Path(mho.__file__).parent)
    inside: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(root):
            inside.append(frame.f_code.co_filename)

    x = torch.rand(128, 784)
    for name, effects in {"write noise": WRITE_NOISE, "stuck + write noise": STUCK}.items():
        layer = on_crossbars(nn.Linear(784, 512), x, **CONVERTERS, effects=effects).train()
        layer(x)
        inside.clear()
        sys.setprofile(note)
        layer(x)
        sys.setprofile(None)
        changes = sum(one != other for one, other in pairwise(inside))
        report(
            "calls in a training read of a Linear",
            hardware=f"{name} + converters",
            calls=len(inside),
            changes_of_file=changes,
        )


def large() -> None:
    """Convert 50 million weights; meant for a process of its own."""
    torch.set_num_threads(1)
    model = nn.Sequential(*(nn.Linear(3536, 3536) for _ in range(4)))
    start = time.perf_counter()
    mho.convert(model, mho.Hardware(**CONVERTERS, effects=WRITE_NOISE))
    report(
        "convert 50 million weights",
        weights=sum(p.numel() for p in model.parameters()),
        seconds=round(time.perf_counter() - start, 2),
        peak_gb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    )


def main() -> None:
    given = options(__doc__, rounds=200, threads=[1, 2], large={"action": "store_true"})
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    for threads in given.threads[:1] if given.quick else given.threads:
        torch.set_num_threads(threads)
        conversion(min(given.rounds, 30))
        inference(given.rounds)
        convolution(given.rounds)
        training(given.rounds)
    memory()
    calls()
    if given.large:
        subprocess.run(
            [sys.executable, "-c", "import heart; heart.large()"], check=True, cwd=sys.path[0]
        )


if __name__ == "__main__":
    main()
