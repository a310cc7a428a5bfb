"""Memory a weight, and the time of half precision, beside plain PyTorch in one run. JSON lines.

    python benchmarks/lean.py [--rounds 20] [--only calibration] [--pixels 112] [--batch 32]

Bytes are those beyond the parameters: what crossbars keep between calls, and what a training step
saves for its backward pass beyond what the plain model saves. Times are medians of interleaved
rounds, as ratios to the plain model in the same dtype. ``--only calibration`` says what calibrating
a ResNet-18 takes: the largest resident memory over that after a pass of the plain model, and the
time, beside that of the plain model's pass (five passes are made); every kind of hardware in a
process of its own.
"""

from __future__ import annotations

import ctypes
import gc
import resource
import subprocess
import sys
import time as clock
import warnings
from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

import mho
from timing import medians, options, report

NOISE = mho.Hardware(effects=(mho.effects.WriteNoise(0.02),))
CONVERTERS = mho.Hardware(dac=mho.DAC(8), adc=mho.ADC(8), effects=(mho.effects.WriteNoise(0.02),))
WIDTH = 1024


def mlp(dtype: torch.dtype) -> nn.Module:
    layers = (nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
    return nn.Sequential(*layers, nn.Linear(WIDTH, WIDTH)).to(dtype)


def weights(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.dim() > 1)


def bytes_of(tensors: Iterator[Tensor]) -> int:
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def held(model: nn.Module) -> float:
    """Bytes a weight that crossbars keep, readouts included."""

    def tensors() -> Iterator[Tensor]:
        for crossbar in mho.crossbars(model).values():
            yield from crossbar.buffers()
            for readout in (crossbar.reader._stored, crossbar.reader._cast):
                yield from (t for t in readout or () if isinstance(t, Tensor))

    return bytes_of(tensors()) / weights(model)


class _Heap(ctypes.Structure):
    """What ``mallinfo2`` of the GNU C library returns, in whose memory torch's tensors are."""

    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]


def in_use() -> int:
    """Bytes allocated now on the host."""
    info = ctypes.CDLL(None).mallinfo2
    info.restype = _Heap
    found = info()
    return int(found.uordblks + found.hblkhd)


def saved(model: nn.Module, x: Tensor) -> float:
    """Bytes a weight that a training step holds for its backward pass."""
    model(x)  # what is worked out once
    gc.collect()
    before = in_use()
    y = model(x)
    gc.collect()
    found = in_use() - before
    del y
    return found / weights(model)


def memory() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        model, x = mlp(dtype), torch.rand(16, WIDTH, dtype=dtype)
        plain = saved(model, x)
        for hardware, name in ((NOISE, "write noise"), (CONVERTERS, "write noise + converters")):
            kinds = {
                "programmed": mho.convert(model, hardware),
                "programmed, cells in float16": mho.convert(
                    model, hardware, cells_dtype=torch.float16
                ),
                "not programmed": mho.convert(model, hardware, program=False),
            }
            for kind, analog in kinds.items():
                row = {"trained_only": round(held(analog.train()), 2)}
                row["saved_by_a_step"] = round(saved(analog, x) - plain, 2)
                if kind != "not programmed":
                    with torch.no_grad():
                        analog.eval()(x)
                    row["read"] = round(held(analog), 2)
                what = {"dtype": str(dtype), "hardware": name, "cells": kind}
                report("bytes a weight beyond the model", **what, **row)


def time(rounds: int) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        for batch in (16, 256):
            model, x = mlp(dtype), torch.rand(batch, WIDTH, dtype=dtype)
            kinds = {
                "plain": model,
                "ideal": mho.convert(model, mho.Hardware()),
                "write noise": mho.convert(model, NOISE),
                "write noise + converters": mho.convert(model, CONVERTERS),
            }
            for analog in list(kinds.values())[1:]:
                mho.calibrate(analog, x)

            with torch.no_grad():
                read = {k: partial(m.eval(), x) for k, m in kinds.items()}
                show("read", dtype, batch, medians(read, rounds, 2))
            steps = {k: partial(step, m.train(), x) for k, m in kinds.items()}
            show("forward and backward", dtype, batch, medians(steps, rounds, 2))


def step(model: nn.Module, x: Tensor) -> None:
    model.zero_grad()
    model(x).square().mean().backward()


def show(name: str, dtype: torch.dtype, batch: int, times: dict[str, float]) -> None:
    plain = times.pop("plain")
    for kind, seconds in times.items():
        row = {"plain_ms": round(plain * 1e3, 2), "ratio": round(seconds / plain, 2)}
        report(name, dtype=str(dtype), batch=batch, hardware=kind, **row)


def error() -> None:
    """Error of bfloat16 and float16 models against the float32 model of the same weights."""
    for dtype in (torch.bfloat16, torch.float16):
        model, x = mlp(dtype), torch.randn(64, WIDTH).to(dtype)
        for name, hardware in (("ideal", mho.Hardware()), ("converters", CONVERTERS)):
            half = mho.convert(model, hardware).eval()
            full = mho.convert(mlp_of(model), hardware).eval()
            with torch.no_grad():
                wanted, found = full(x.float()), half(x).float()
                plain = (model(x).float() - mlp_of(model)(x.float())).norm()
                digital = plain / mlp_of(model)(x.float()).norm()
            row = {"relative_error": f"{float((found - wanted).norm() / wanted.norm()):.1e}"}
            row["of_the_digital_model"] = f"{float(digital):.1e}"
            report("half against float32", dtype=str(dtype), hardware=name, **row)


def mlp_of(model: nn.Module) -> nn.Module:
    full = mlp(torch.float32)
    full.load_state_dict(model.state_dict())
    return full


# ── calibration ──────────────────────────────────────────────────────────────────────────────


class Block(nn.Module):
    """Two 3 × 3 convolutions and a way past them (He 2016, doi 10.1109/CVPR.2016.90)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        short = nn.Conv2d(before, after, 1, stride, bias=False)
        same = before == after and stride == 1
        self.past = nn.Identity() if same else nn.Sequential(short, nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[batch, before, *size]`` to ``[batch, after, *size / stride]``."""
        return torch.relu(self.inner(x) + self.past(x))


def resnet18() -> nn.Module:
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
    body = [Block(a, b, 2 if a != b else 1) for a, b in pairwise(widths)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)]
    return nn.Sequential(*stem, nn.MaxPool2d(3, 2, 1), *body, *head)


USUAL = mho.Hardware(
    dac=mho.DAC(8, mode="bit_serial"),
    adc=mho.ADC(8),
    array=mho.Array(rows=128, cols=128),
    encoding=mho.encoding.BitSliced(bits=8, bits_per_cell=2),
)
CHIPS = {"ideal": mho.Hardware(), "converters": CONVERTERS, "usual": USUAL}


def resident() -> float:
    """Largest resident memory so far (MB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def calibration(chip: str, pixels: int, batch: int) -> None:
    model, x = resnet18().eval(), torch.rand(batch, 3, pixels, pixels)
    analog = mho.convert(model, CHIPS[chip])
    with torch.no_grad():
        start = clock.perf_counter()
        model(x)
        plain = clock.perf_counter() - start
    before, start = resident(), clock.perf_counter()
    mho.calibrate(analog, x)
    took = clock.perf_counter() - start
    row = {
        "peak_mb": round(resident() - before, 1),
        "s": round(took, 1),
        "plain_pass_s": round(plain, 1),
    }
    report("calibration", hardware=chip, pixels=pixels, batch=batch, **row)


def main() -> None:
    given = options(
        __doc__,
        rounds=20,
        only={"choices": ["calibration"]},
        chip={"choices": [*CHIPS]},
        pixels={"type": int, "default": 112},
        batch={"type": int, "default": 32},
    )
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    if given.chip:
        calibration(given.chip, given.pixels, given.batch)
        return
    if given.only:
        sizes = ["--pixels", str(given.pixels), "--batch", str(given.batch)]
        for chip in ("ideal", "converters"):
            subprocess.run([sys.executable, __file__, "--chip", chip, *sizes], check=True)
        return
    memory()
    error()
    time(given.rounds)


if __name__ == "__main__":
    main()
