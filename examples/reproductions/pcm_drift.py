"""Drift of phase-change memory: the published error of a product, and MNIST over a year.

Left: a 256 × 256 product on differential pairs of PCM cells by the statistics of V. Joshi et al.,
Nature Communications 2020, doi 10.1038/s41467-020-16108-9; relative error of what is read just
after programming, after an hour, a day and a year, as it drifts and with one factor for the whole
array (global drift compensation). Published values: those of the IBM Analog Hardware Acceleration
Kit's model of the same cells (M. J. Rasch et al., AICAS 2021,
doi 10.1109/AICAS51828.2021.9458494), converters ideal, weights uniform.

Right: a 784-256-128-10 network on the same cells with 8-bit converters, trained in software and
trained with the cells' programming error in every step, over a year. The paper reports CIFAR-10:
93.7 % by a ResNet-32, above 93.5 % for a day.

    python examples/reproductions/pcm_drift.py --mnist FOLDER [--chips 10] [--quick]
"""

from __future__ import annotations

import warnings

import matplotlib.pyplot as plt
import torch
from common import accuracy, data, finish, mlp, options, row, spread, train

import mho
from mho.devices import PCM
from mho.encoding import Differential
from mho.plot import style
from mho.study import over_chips

TIMES = {"programmed": 0.0, "1 hour": 3600.0, "1 day": 86_400.0, "1 year": 3.15576e7}
LATER = {
    "25 s": 25.0,
    "1 hour": 3600.0,
    "1 day": 86_400.0,
    "1 month": 2.6298e6,
    "1 year": 3.15576e7,
}
# Error with compensation, factor of the compensation, error without.
PUBLISHED = {
    "programmed": (0.063, 1.0, 0.063),
    "1 hour": (0.096, 1.29, 0.24),
    "1 day": (0.112, 1.51, 0.35),
    "1 year": (0.151, 2.00, 0.51),
}
HARDWARE = mho.Hardware(
    device=PCM(), encoding=Differential(), dac=mho.DAC(bits=8), adc=mho.ADC(bits=8)
)


def product_error(seconds, seed):
    """Error with compensation, its factor, and error without, of one array."""
    source = torch.Generator().manual_seed(seed)
    weight = 2 * torch.rand(256, 256, generator=source) - 1
    x = 2 * torch.rand(2048, 256, generator=source) - 1
    y = x @ weight
    # The published formula's read noise is zero at t = 0; a device's reads are noisy from then on.
    device = PCM(read_scale=1.0 if seconds else 0.0)
    crossbar = mho.Crossbar(
        256, 256, mho.Hardware(device=device, encoding=Differential()), seed=seed
    )
    crossbar.program(weight)
    crossbar.age(seconds)
    before = float((x @ crossbar - y).norm() / y.norm())
    factor = float(mho.compensate(crossbar)[""][0])
    return float((x @ crossbar - y).norm() / y.norm()), factor, before


def over_time(model, samples, chips, compensated):
    """Accuracies (%) ``[chips, times]`` of a converted network as it ages."""
    times = list(LATER.values())

    def evaluate(chip):
        mho.calibrate(chip, samples.train_x[:500])
        found, now = [], 0.0
        for time in times:
            mho.age(chip, time - now)
            now = time
            if compensated:
                mho.compensate(chip)
            found.append(accuracy(chip, samples))
        return found

    return over_chips(model, evaluate, range(chips))


def show(errors, curves):
    row("relative error of a product", TIMES)
    for k, name in enumerate(("compensated", "factor", "as it drifts")):
        row(name, [f"{errors[t][:, k].mean():.3f}" for t in TIMES])
        row("    published", [f"{PUBLISHED[t][k]:.3g}" for t in TIMES])
    row("\naccuracy (%), mean ± sd of chips", LATER, first=35)
    for name, values in curves.items():
        row(name, [spread(v) for v in values.T])


def draw(errors, curves, name):
    with style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.8), layout="constrained")
        seconds = [max(t, 1.0) for t in TIMES.values()]
        for k, label, colour in ((0, "compensated", "#0072B2"), (2, "as it drifts", "#D55E00")):
            ours = [float(errors[t][:, k].mean()) for t in TIMES]
            left.plot(seconds, ours, color=colour, marker="o", label=label)
            known = [PUBLISHED[t][k] for t in TIMES]
            left.plot(seconds, known, color=colour, marker="x", linestyle=":", markersize=9)
        left.plot([], [], color="#6B6B6B", marker="x", linestyle=":", label="published")
        left.set(xscale="log", xlabel="time since programming (s)", ylabel="relative error")
        for (label, values), colour in zip(curves.items(), _colours(), strict=False):
            mean, sd = values.mean(0), values.std(0) if len(values) > 1 else 0 * values[0]
            dotted = "--" if "drifts" in label else "-"
            line = {"color": colour, "linestyle": dotted, "marker": "o", "label": label}
            right.errorbar(list(LATER.values()), mean, sd, capsize=2, **line)
        right.set(
            xscale="log", xlabel="time since programming (s)", ylabel=f"accuracy on {name} (%)"
        )
        for ax in (left, right):
            ax.legend(fontsize=8)
        return figure


def _colours():
    return ("#0072B2", "#56B4E9", "#D55E00", "#E69F00")


def main(arguments=None):
    chosen = options(__doc__, "pcm_drift", arguments)
    samples, name = data(chosen)
    seeds, epochs, chips = 4, 5, chosen.chips
    if chosen.quick:
        seeds, epochs, chips = 1, 1, chips
    warnings.filterwarnings("ignore", message=".*has changed since it was programmed.*")
    errors = {
        t: torch.tensor([product_error(s, k) for k in range(seeds)]) for t, s in TIMES.items()
    }
    plain = train(mlp(784, 256, 128, 10), samples, epochs)
    print(f"in software: {accuracy(plain, samples):.1f} %")
    noisy = mho.convert(plain, HARDWARE, seed=0)
    mho.calibrate(noisy, samples.train_x[:500])
    train(noisy, samples, max(epochs // 2, 1), lr=1e-3)
    mho.program(noisy)
    models = {"software": mho.convert(plain, HARDWARE, seed=0), "noise-aware": noisy.eval()}
    curves = {
        f"{label}, {'compensated' if care else 'as it drifts'}": over_time(m, samples, chips, care)
        for care in (True, False)
        for label, m in models.items()
    }
    show(errors, curves)
    rows = [
        ("product", part, time, seed, float(errors[time][seed, k]))
        for k, part in enumerate(("error, compensated", "factor", "error, as it drifts"))
        for time in TIMES
        for seed in range(seeds)
    ]
    rows += [
        ("network, accuracy (%)", label, time, chip, float(values[chip, k]))
        for label, values in curves.items()
        for k, time in enumerate(LATER)
        for chip in range(chips)
    ]
    finish(draw(errors, curves, name), chosen, ("of", "what", "time", "chip", "value"), rows)
    return errors, curves


if __name__ == "__main__":
    main()
