"""Device cards: a moving tunnel barrier
=====================================

The first measured TiO₂ cell, as the model of its discoverers: the barrier's width changes at a rate that
rises steeply with the current, so set and reset differ.
"""

from mho.devices import presets
from mho.plot import device_card

# %%
# ``tio2_pickett``
figure = device_card(presets.get("tio2_pickett"), name="tio2_pickett")
