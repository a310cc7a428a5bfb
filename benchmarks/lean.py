"""Memory a weight, and the time of half precision, beside plain PyTorch in one run. JSON lines.

    python benchmarks/lean.py [--rounds 20]

Bytes are those beyond the parameters: what crossbars keep between calls, and what a training step
saves for its backward pass beyond what the plain model saves. Times are medians of interleaved
rounds, as ratios to the plain model in the same dtype.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

import mho
from timing import medians, report

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


def saved(model: nn.Module, x: Tensor) -> float:
    """Bytes a weight that a training step saves for its backward pass, beyond the parameters."""
    kept: list[Tensor] = []
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        model(x)
    return bytes_of(t for t in kept if t.untyped_storage().data_ptr() not in own) / weights(model)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    memory()
    error()
    time(options.rounds)


if __name__ == "__main__":
    main()
