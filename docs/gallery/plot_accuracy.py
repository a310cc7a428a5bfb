"""Accuracy on chips
=================

A network for handwritten digits on phase-change cells: what programming costs, and what time does. The
band is one standard deviation over chips; recalibrated chips (dashed, hollow marks) get back nearly all
that drift has taken.
"""

import mho
from mho import plot, study
from mho.demo.data import digits
from mho.demo.models import build
from mho.demo.train import train
from mho.devices import presets

data = digits(seed=0)
model = build("MLP", seed=0)
train(model, data, epochs=8, seed=0)
hardware = mho.Hardware(
    device=presets.get("pcm_joshi"),
    array=mho.Array(64, 64),
    dac=mho.DAC(bits=8),
    adc=mho.ADC(bits=6),
)
found = study.accuracy(
    model,
    hardware,
    data.test_x[:200],
    data.test_y[:200],
    calibration=data.train_x[:100],
    seeds=range(4),
)

# %%
# Every chip is a dot: ideal cells have the same window and the same converters.
plot.accuracy_of_chips(
    {"plain PyTorch": found.digital, "ideal cells": found.ideal, "PCM": found.chips[:, 0]}
)

# %%
# The same chips later. The time axis has ticks in natural units.
times = [1.0, *found.times[1:]]
ax = plot.accuracy_against(times, found.chips, label="as they are", baseline=found.digital)
plot.accuracy_against(times, found.recalibrated, ax, label="recalibrated", line="--")
plot.time_axis(ax, times)
ax.set(xlabel="after programming", ylim=(80, 100))
