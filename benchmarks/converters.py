"""What errors of converters and drivers cost a read, beside the same read without. JSON lines.

    python benchmarks/converters.py [--rounds 100] [--threads 1]

Ratios compare medians of interleaved rounds. ``plain`` is the product by torch alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

import mho
from mho.devices import Spread
from mho.periphery import (
    SAR,
    Architecture,
    Cyclic,
    DriverErrors,
    Flash,
    Oscillator,
    Pipeline,
    Ramp,
)
from timing import medians, options, report


def normal(mean: float, sigma: float) -> Spread:
    return Spread("Normal", (("loc", mean), ("scale", sigma)))


MISMATCH = Architecture(gain=normal(1.0, 0.02), offset=normal(0.0, 0.01))
ADCS = {
    "gain and offset": MISMATCH,
    "shared by 8": MISMATCH,
    "thermal noise": Architecture(noise=0.002),
    "flash": Flash(comparator_sigma=0.002),
    "SAR": SAR(capacitor_sigma=0.02),
    "ramp": Ramp(capacitor_sigma=0.02, comparator_sigma=0.01),
    "pipeline": Pipeline(capacitor_sigma=0.002),
    "cyclic": Cyclic(amplifier_db=60.0),
    "oscillator": Oscillator(compression=normal(0.05, 0.01)),
}
DACS = {
    "driver gain": DriverErrors(gain=normal(1.0, 0.02)),
    "driver offset": DriverErrors(offset=normal(0.0, 0.01)),
    "driver curve": DriverErrors(inl=(0.0, 0.02)),
}
CHIPS = {
    "8-bit converters": {},
    "and read noise": {"effects": (mho.effects.ReadNoise(0.01),)},
    "bit planes, digital slices": {
        "dac": {"mode": "bit_serial"},
        "encoding": mho.encoding.BitSliced(bits=5, bits_per_cell=2),
        "effects": (mho.effects.ReadNoise(0.01),),
    },
}


def reads(layer: nn.Module, x: Tensor, chip: dict) -> dict[str, Callable[[], object]]:
    """Return a read without errors, and one with each of them."""
    parts = {name: value for name, value in chip.items() if name != "dac"}
    drive = chip.get("dac", {})

    def read(dac: DriverErrors | None, adc: Architecture | None, columns: int = 1) -> object:
        hardware = mho.Hardware(
            dac=mho.DAC(8, errors=dac, **drive),
            adc=mho.ADC(8, architecture=adc, columns_per_adc=columns),
            **parts,
        )
        model = mho.convert(layer, hardware, seed=0).eval()
        mho.calibrate(model, x[:64], correct=False)
        return partial(model, x)

    work = {"without": read(None, None)}
    for name, adc in ADCS.items():
        work[name] = read(None, adc, 8 if name == "shared by 8" else 1)
    for name, dac in DACS.items():
        if drive and name != "driver gain":
            continue
        work[name] = read(dac, None)
    return work


def main() -> None:
    given = options(__doc__, rounds=100)
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    sizes = ((128, 64, 64),) if given.quick else ((784, 512, 256), (1024, 1024, 512))
    for rows, cols, batch in sizes:
        layer, x = nn.Linear(rows, cols, bias=False), torch.randn(batch, rows)
        for chip, parts in CHIPS.items():
            planes = "dac" in parts  # some seventy times the work
            inputs = x[: batch // 4] if planes else x
            work = reads(layer, inputs, parts)
            rounds = max(given.rounds // 10, 3) if planes else given.rounds
            with torch.no_grad():
                found = medians({"plain": partial(layer, inputs), **work}, rounds, warm_up=2)
            base = found["without"]
            extra = {n: round(found[n] / base - 1.0, 3) for n in work if n != "without"}
            report(
                "converters",
                size=f"{rows}x{cols}, batch {len(inputs)}",
                chip=chip,
                without_over_plain=round(base / found["plain"], 2),
                milliseconds=round(1e3 * base, 3),
                extra=extra,
            )


if __name__ == "__main__":
    main()
