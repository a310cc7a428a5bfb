"""Device cards: electrochemical and ferroelectric cells
=====================================================

ECRAM takes about a thousand nearly linear steps or more. The three FeFETs are tables of measured
jumps: the higher the pulse, the fewer pulses take a cell through its window, and the wider they scatter.
"""

from mho.devices import presets
from mho.plot import device_card

# %%
# ``ecram_lithium``
figure = device_card(presets.get("ecram_lithium"), name="ecram_lithium")

# %%
# ``ecram_metal_oxide``
figure = device_card(presets.get("ecram_metal_oxide"), name="ecram_metal_oxide")

# %%
# ``hzo_fefet``
figure = device_card(presets.get("hzo_fefet"), name="hzo_fefet")

# %%
# ``fefet_2v5``
figure = device_card(presets.get("fefet_2v5"), name="fefet_2v5")

# %%
# ``fefet_3v0``
figure = device_card(presets.get("fefet_3v0"), name="fefet_3v0")

# %%
# ``fefet_3v5``
figure = device_card(presets.get("fefet_3v5"), name="fefet_3v5")
