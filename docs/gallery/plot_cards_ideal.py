"""Device cards: ohmic cells and NeuroSim's
========================================

The ideal cell holds whatever is written; of NeuroSim's two, the second bends and its pulses scatter
by 2 % of the window. The last is what analog training would like to have: many constant steps, though
with much spread.
"""

from mho.devices import presets
from mho.plot import device_card

# %%
# ``ideal``
figure = device_card(presets.get("ideal"), name="ideal")

# %%
# ``neurosim_ideal``
figure = device_card(presets.get("neurosim_ideal"), name="neurosim_ideal")

# %%
# ``neurosim_targeted``
figure = device_card(presets.get("neurosim_targeted"), name="neurosim_targeted")

# %%
# ``gokmen_vlasov``
figure = device_card(presets.get("gokmen_vlasov"), name="gokmen_vlasov")
