"""Published chips from their parts: throughput, efficiency and area beside what was measured.

    python examples/published_chips.py [--quick] [--out published_chips]

Everything comes from the presets of `mho.analysis.chips`. Hermes is predicted, by another chip of
one such core. NeuRRAM is a fit: 7 constants for 28 published numbers, and its TOPS/W is what the
published breakdown of the energy adds up to, to whose neurons and input lines 5 of these are
fitted (its word lines, a third, are predicted).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import mho
from mho.analysis import (
    ChargeSteps,
    ChipArchitecture,
    Part,
    Peak,
    PulseWidths,
    chips,
    components,
    cost,
    peak,
)
from mho.analysis.timing import Sent
from mho.core.text import table
from mho.plot import style

# Wan et al. 2022, doi 10.1038/s41586-022-04992-8, Extended Data: (output, input) bits, TOPS of 48
# cores, TOPS/W, and the energy's breakdown into word lines, neurons and inputs (fJ an operation).
NEURRAM = (
    (3, 1, 2.122, 43.08, (8.99, 10.62, 3.45)),
    (4, 2, 1.793, 40.33, (8.27, 12.39, 3.96)),
    (5, 3, 1.165, 23.09, (15.46, 20.12, 7.73)),
    (6, 4, 0.7439, 15.95, (21.76, 29.11, 11.51)),
    (7, 5, 0.5254, 11.03, (30.93, 44.21, 14.02)),
    (8, 6, 0.4177, 8.257, (37.22, 52.48, 19.24)),
    (10, 8, 0.2639, 6.437, (50.52, 75.86, 27.51)),
)
BREAKDOWN = (
    ("word lines", ("word lines",)),
    ("neurons", ("sampling", "integrators", "neurons", "shift-add")),
    ("inputs", ("input lines",)),
)
# Le Gallo et al. 2023, doi 10.1038/s41928-023-01010-1: TOPS, TOPS/W; and TOPS/mm² of the area of
# the cores, 0.4 in four phases (abstracts) and 1.55 in one (notes of a reader of the paper, which
# could not be read itself).
HERMES = {"hermes": (63.1, 9.76, 1.55), "hermes_four_phase": (16.1, 2.48, 0.400)}
DIE = 144.0  # mm², of Hermes' 12 mm × 12 mm


def off(found: float, measured: float) -> float:
    """Return by how much of the measured an estimate is off."""
    return found / measured - 1.0


def typical(found: Peak) -> tuple[float, float, float]:
    """Return TOPS, TOPS/W and TOPS/mm²."""
    values = (found.tops, found.tops_per_watt, found.tops_per_area)
    return tuple(0.0 if value is None else value.typical for value in values)  # type: ignore[return-value]


def neurram() -> list[float]:
    """Print NeuRRAM at its resolutions; return all errors."""
    chip, rows, errors = chips.get("neurram"), [], []
    parts = []
    for out, given, tops, efficiency, breakdown in NEURRAM:
        found = peak(chip, given, out)
        speed, rate, _ = typical(found)
        errors += [off(speed, tops), off(rate, efficiency)]
        rows.append(
            (
                f"{given} b in, {out} b out",
                *(f"{speed:.3g}", f"{tops:.3g}", f"{off(speed, tops):+.1%}"),
                *(f"{rate:.3g}", f"{efficiency:.3g}", f"{off(rate, efficiency):+.1%}"),
            )
        )
        each = {part.name: part.dynamic.typical for part in found.parts if part.dynamic}
        sums = [sum(each[n] for n in names) / found.operations * 1e15 for _, names in BREAKDOWN]
        pairs = zip(sums, breakdown, strict=True)
        parts.append((f"{given} b in, {out} b out", *(f"{a:.1f} / {b:.1f}" for a, b in pairs)))
    print("NeuRRAM, 130 nm, 48 cores (Wan et al. 2022)\n")
    head = ("resolution", "TOPS", "measured", "off", "TOPS/W", "measured", "off")
    print(table(head, rows))
    print("\nenergy of an operation, here / published (fJ)\n")
    print(table(("resolution", *(name for name, _ in BREAKDOWN)), parts))
    print(
        "\nWhat explains the rest: word lines come out 9 to 28 % low (their capacitance alone,\n"
        "without level shifters); at 6 b in, 8 b out the published breakdown itself adds up to\n"
        "9.2 TOPS/W, not 8.26; two times are fitted to the throughputs, and meet them within 6 %.\n"
        "TOPS/W is what the breakdown adds up to: neurons and input lines are fitted to it, word\n"
        "lines are not."
    )
    return errors


def refitted(
    others: Sequence[tuple[int, int, float, float, tuple[float, ...]]],
) -> ChipArchitecture:
    """Return NeuRRAM with its two times and its input lines' energy from some resolutions alone.

    Times by least squares of relative errors, the energy as the mean for each input bit. (The four
    energies of a neuron are CiMLoop's, from all resolutions.)
    """
    chip = chips.get("neurram")
    rows, wanted, energies = [], [], []
    for out, given, tops, _, breakdown in others:
        slots = chip.timing.slots(Sent(given, out))
        time = chip.cores * 65536 / (tops * 1e12)
        rows.append([slots.pulses / time, (slots.steps + slots.phases) / time])
        wanted.append(1.0)
        energies.append(breakdown[2] * 1e-15 * 65536 / (256 * slots.drives))
    pulse, step = torch.linalg.lstsq(torch.tensor(rows), torch.tensor(wanted)[:, None])[0].flatten()
    mean = sum(energies) / len(energies)

    def lines(part: Part) -> Part:
        if part.name != "input lines":
            return part
        return part.replace(component=part.component.replace(energy=mean))

    timing = ChargeSteps(float(pulse), float(step))
    return chip.replace(timing=timing, parts=tuple(lines(part) for part in chip.parts))


def held_out() -> list[float]:
    """Return NeuRRAM's errors, each resolution by constants from the other six."""
    errors = []
    for k, (out, given, tops, efficiency, _) in enumerate(NEURRAM):
        found = peak(refitted(NEURRAM[:k] + NEURRAM[k + 1 :]), given, out)
        speed, rate, _ = typical(found)
        errors += [off(speed, tops), off(rate, efficiency)]
    return errors


def cells_of_hermes(volts: float = 0.2) -> float:
    """Return what currents take in the cells of one core for one vector (J), from a model.

    Weights are normal, as many as fill a core, inputs uniform; the read voltage is assumed.
    """
    torch.manual_seed(0)
    hardware = mho.Hardware(
        device=mho.devices.presets.get("pcm_hermes_2"),
        array=mho.Array(256, 256),
        dac=mho.DAC(8, v_max=volts),
        adc=mho.ADC(8),
    )
    layer = torch.nn.Linear(256, 256, bias=False)
    torch.nn.init.normal_(layer.weight)
    analog = mho.convert(layer, hardware, seed=0)
    bare = ChipArchitecture(
        parts=(Part("rest", ("drivers", "converters"), None),),
        timing=PulseWidths(1e-9),
        columns_per_converter=1,
    )
    found = cost(analog, torch.rand(64, 256), bare)["cells"].dynamic
    assert found is not None
    return found.typical


def hermes() -> list[float]:
    """Print Hermes in both modes; return the errors of TOPS, TOPS/W and area."""
    rows, errors = [], []
    for name, (tops, efficiency, density) in HERMES.items():
        found = peak(chips.get(name))
        speed, rate, _ = typical(found)
        cores = found.area.typical * 1e6
        mode = "one phase" if name == "hermes" else "four phases"
        for label, value, truth in (
            (f"TOPS, {mode}", speed, tops),
            (f"TOPS/W, {mode}", rate, efficiency),
            (f"area of the cores (mm²), TOPS over TOPS/mm², {mode}", cores, tops / density),
        ):
            errors.append(off(value, truth))
            rows.append((label, f"{value:.3g}", f"{truth:.3g}", f"{off(value, truth):+.1%}"))
    print("\nHermes, 14 nm, 64 cores (Le Gallo et al. 2023), from the single core of 2022\n")
    print(table(("", "here", "measured", "off"), rows))
    print(
        "\nWhat explains the rest: the single core has no global digital units, links and clock\n"
        "of a whole chip, which are not counted: likely the 6 to 8 % in energy. The cores are "
        f"{cores / DIE:.0%} of\nthe die of {DIE:.0f} mm²; what takes the rest was not found, so "
        "the die is not predicted.\nFour phases are the same cores four times as long: of the six "
        "figures the first three stand by\nthemselves.\nWhat converters take of a core was not "
        "published either; a regression over published ones says:"
    )
    general = components.RegressionADC(8, 1 / 130e-9, 14e-9)
    cells, whole = cells_of_hermes(), peak(chips.get("hermes")).energy.typical
    share, rest = 256 * general.energy.typical / whole, 1 - cells / whole
    print(
        f"  256 converters of {general.energy.typical * 1e12:.2g} pJ: {share:.1%} of a core's "
        "energy: its oscillators take far more, or it is not the\n  converters that count.\n"
        f"Cells, by a model at 0.2 V (assumed), take {cells * 1e9:.2g} nJ, {cells / whole:.0%}; "
        f"the other {rest:.0%} are converters, drivers\nand local digital units together."
    )
    return errors


def sensitivity(chip: ChipArchitecture, given: int, out: int) -> None:
    """Print what half more or less in one part makes of TOPS/W."""
    base = typical(peak(chip, given, out))[1]
    rows = []
    energy = peak(chip, given, out)
    for part in energy.parts:
        used = part.dynamic.typical if part.dynamic else 0.0
        if used == 0.0:
            continue
        ends = [
            energy.operations * 1e-12 / (energy.energy.typical + sign * 0.5 * used)
            for sign in (-1, 1)
        ]
        rows.append(
            (part.name, f"{used / energy.energy.typical:.0%}", *(f"{end:.3g}" for end in ends))
        )
    print(f"\n{chip.name}, {given} b in, {out} b out: {base:.3g} TOPS/W\n")
    print(table(("part", "of energy", "half less", "half more"), rows))


def draw(path: Path) -> None:
    """Draw NeuRRAM's and Hermes' efficiencies, from their parts and measured."""
    from example_options import save_figure  # beside this file, where Python finds it when run

    neurram = [
        (efficiency, typical(peak(chips.get("neurram"), given, out))[1])
        for out, given, _, efficiency, _ in NEURRAM
    ]
    hermes = [(known[1], typical(peak(chips.get(name)))[1]) for name, known in HERMES.items()]
    with style():
        figure, ax = plt.subplots(figsize=(4.8, 4.2), layout="constrained")
        for marker, name, points in (("o", "NeuRRAM", neurram), ("s", "Hermes", hermes)):
            ax.plot(*zip(*points, strict=True), marker, markersize=7, label=name)
        ends = (2.0, 60.0)
        ax.plot(ends, ends, color="grey", linestyle=":", label="as measured")
        ax.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
        ax.set(xlabel="measured (TOPS/W)", ylabel="from its parts (TOPS/W)")
        ticks = (2, 5, 10, 20, 50)
        ax.set_xticks(ticks, map(str, ticks))
        ax.set_yticks(ticks, map(str, ticks))
        ax.minorticks_off()
        ax.legend()
        save_figure(figure, path)


def main(out: Path | None = None) -> None:
    """Print everything, and draw it into a folder if there is one."""
    results = {
        "NeuRRAM": neurram(),
        "NeuRRAM, each resolution by times and input energies fitted to the other six": held_out(),
        "Hermes": hermes(),
    }
    for name, errors in results.items():
        sizes = [abs(error) for error in errors]
        print(f"\n{name}: {len(sizes)} figures, mean error {sum(sizes) / len(sizes):.1%}, worst "
              f"{max(sizes):.1%}")  # fmt: skip
    print("\nHow much hangs on one component: TOPS/W with half as much, and half again as much")
    sensitivity(chips.get("neurram"), 4, 6)
    sensitivity(chips.get("hermes"), 8, 8)
    if out is not None:
        draw(out / "published_chips.png")


if __name__ == "__main__":
    from example_options import parsed

    main(parsed(__doc__ or "", "published_chips", quick="the same: it takes seconds").out)
