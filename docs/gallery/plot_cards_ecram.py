"""Device cards: electrochemical cells
===================================

ECRAM takes about a thousand nearly linear steps, or several thousand; what one pulse does differs more
from pulse to pulse than from place to place.
"""

from mho.devices import presets
from mho.plot import device_card

# %%
# ``ecram_lithium``
figure = device_card(presets.get("ecram_lithium"), name="ecram_lithium")

# %%
# ``ecram_metal_oxide``
figure = device_card(presets.get("ecram_metal_oxide"), name="ecram_metal_oxide")
