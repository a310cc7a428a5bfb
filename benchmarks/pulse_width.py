"""Reads of inputs that are coded in the length of a pulse, beside those of amplitudes.

Times of one read (s), and of torch's own product, as ratios to the read of amplitudes of the same
bits on the same array. What is compared takes turns in one run. JSON lines.

    python benchmarks/pulse_width.py [--rounds 15] [--quick]
"""

from __future__ import annotations

import torch
from torch import nn

import mho
from mho import ADC, DAC, Array, Hardware, PulseWidth
from mho.circuit import Wires
from mho.effects import ReadNoise
from timing import medians, options, report

WIRES = Wires(source=10.0, word=1.0, bit=1.0, sense=10.0)
NOISE = (ReadNoise(0.01),)

PULSES = {
    "whole": PulseWidth(),
    "two_phase": PulseWidth(signs="two_phase"),
    "split": PulseWidth(split=(3, 4)),
    "idle_rail": PulseWidth(v_idle=0.01),
    "jitter": PulseWidth(jitter=1e-10),
    "floating": PulseWidth(idle="floating"),
}


def compare(
    name: str,
    pulses: dict[str, PulseWidth],
    size: tuple[int, int, int],
    rounds: int,
    **parts: object,
) -> None:
    """Read inputs to outputs (``size``: how many, and the batch) by pulses, amplitudes, torch."""
    torch.manual_seed(0)
    rows, cols, batch = size
    layer, x = nn.Linear(rows, cols).eval(), torch.randn(batch, rows)

    def converted(dac: DAC) -> nn.Module:
        analog = mho.convert(layer, Hardware(dac=dac, adc=ADC(8), **parts), seed=0).eval()
        mho.calibrate(analog, x[:64])
        analog(x[:2])  # wires are solved once
        return analog

    chips = {"amplitude": converted(DAC(8))}
    for kind, given in pulses.items():
        chips[kind] = converted(DAC(8, mode="pulse_width", pulses=given))
    if not parts:
        chips["bit_serial"] = converted(DAC(8, mode="bit_serial"))
    work = {kind: lambda chip=chip: chip(x) for kind, chip in chips.items()}
    with torch.no_grad():
        found = medians({"torch": lambda: layer(x), **work}, rounds, warm_up=2)
    ratios = {f"{kind}_ratio": round(t / found["amplitude"], 3) for kind, t in found.items()}
    report(
        f"pulse_width {name}",
        rows=rows,
        batch=batch,
        amplitude_s=round(found["amplitude"], 8),
        **ratios,
    )


def main() -> None:
    """Print all comparisons."""
    given = options(__doc__, rounds=15)
    rounds = given.rounds
    rows, cols, batch, tile = (64, 32, 16, 32) if given.quick else (512, 256, 256, 128)
    driven = {kind: pulses for kind, pulses in PULSES.items() if kind != "floating"}
    whole, floating = ({kind: PULSES[kind]} for kind in ("whole", "floating"))
    tiles, wired = Array(tile, tile), Array(tile, tile, wires=WIRES)
    small = Array(tile // 2, tile // 2, wires=WIRES)
    size = (rows, cols, batch)
    compare("bare", driven, size, rounds)
    compare("noisy", whole, size, rounds, array=tiles, effects=NOISE)
    compare("wires", whole, size, rounds, array=wired)
    size = (rows, cols, batch // 4)
    compare("noise behind wires", whole, size, rounds, array=wired, effects=NOISE)
    compare("floating behind wires", floating, (rows, cols, 8), rounds, array=small)


if __name__ == "__main__":
    main()
