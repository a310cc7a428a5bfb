"""Quantisers and converters
=========================

What comes out over what goes in: of number formats, and of analog-to-digital converters whose capacitors
and comparators are not all alike.
"""

from mho import plot
from mho.periphery import ADC, SAR
from mho.periphery.formats import FixedPoint

# %%
# Four bits, rounded to the nearest and at random: the band holds all values that occur. Dotted is the
# derivative that training sees.
ax = plot.transfer_curve(FixedPoint(4, 3), label="nearest", gradient=True)
plot.transfer_curve(
    FixedPoint(4, 3, rounding="stochastic"), ax=ax, label="stochastic", colour="#D55E00"
)

# %%
# Four converters by successive approximation with 5 % of mismatch: steps are of unequal width.
rough = ADC(4, architecture=SAR(capacitor_sigma=0.05, comparator_sigma=0.05))
plot.converter_curve(rough, converters=4, label="4 converters")

# %%
# With eight bits and 2 % of mismatch codes are off by up to half a step, most where the largest capacitor
# switches.
sar = ADC(8, architecture=SAR(capacitor_sigma=0.02))
plot.converter_nonlinearity(sar, converters=8)

# %%
plot.converter_nonlinearity(sar, converters=8, of="differential")
