"""Where the energy goes
=====================

One inference of a convolutional network on a chip of published 22 nm circuits with 8-bit converters. The
whisker is the range that published numbers leave open.
"""

import mho
from mho import plot
from mho.analysis import chips, cost
from mho.demo.data import digits
from mho.demo.models import build

data = digits(seed=0)
hardware = mho.Hardware(dac=mho.DAC(bits=8), adc=mho.ADC(bits=8))
analog = mho.convert(build("CNN", seed=0), hardware)
mho.calibrate(analog, data.train_x[:100])
found = cost(analog, data.test_x[:32], chips.get("generic_22nm"))

# %%
# Leakage takes most of it: of the last layer, which is read once, nearly all.
plot.cost_breakdown(found)
