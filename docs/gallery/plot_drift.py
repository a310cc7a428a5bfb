"""Drift and programming error
===========================

A million measured phase-change cells, as a model: what they hold over a year, and how far from what was
asked for.
"""

from mho import plot
from mho.devices import presets

device = presets.get("pcm_joshi")

# %%
# Five targets: bold is the median over the band of 90 % of the cells, thin are single reads.
plot.drift_over_time(device)

# %%
# Just programmed, the error is about 1 µS over most of the window; later nearly all of it is drift.
plot.programming_error(device, times=(0.0, 3600.0, 86400.0))
