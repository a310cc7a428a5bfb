"""Lookups on crossbars against `torch.nn.Embedding`, and against the whole one-hot read.

    python benchmarks/embedding.py

JSON lines with ratios to torch's lookup, medians in one run.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import one_hot

import mho
from timing import medians, options, report

VOCABULARY, WIDTH, LOOKUPS = 8192, 256, 256

HARDWARE = {
    "ideal": mho.Hardware(),
    "8 bit": mho.Hardware(dac=mho.DAC(8), adc=mho.ADC(8)),
    "8 bit, read noise": mho.Hardware(
        dac=mho.DAC(8), adc=mho.ADC(8), effects=(mho.effects.ReadNoise(0.02),)
    ),
}


class Tied(nn.Module):
    """A table and a head of one Parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.head.weight = self.table.weight


def main() -> None:
    """Print the lines."""
    warnings.simplefilter("ignore")
    rounds = options(__doc__, rounds=15).rounds
    torch.manual_seed(0)
    index = torch.randint(VOCABULARY, (LOOKUPS,))
    plain = nn.Embedding(VOCABULARY, WIDTH)
    inputs = one_hot(index, VOCABULARY).float()
    for name, hardware in HARDWARE.items():
        table = mho.convert(plain, hardware, embeddings=True).eval()
        tied = mho.convert(Tied(), hardware, embeddings=True).eval()
        work: dict[str, Callable[[], object]] = {
            "torch": lambda: plain(index),
            "rows": lambda table=table: table(index),
            "columns": lambda tied=tied: tied.table(index),
            "whole read": lambda table=table: table.crossbar(inputs),
        }
        with torch.no_grad():
            found = medians(work, rounds, 2)
        ratios = {key: round(value / found["torch"], 2) for key, value in found.items()}
        report(f"{LOOKUPS} lookups of {VOCABULARY} × {WIDTH}", hardware=name, **ratios)


if __name__ == "__main__":
    main()
