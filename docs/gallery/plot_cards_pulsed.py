"""Device cards: oxide memristors driven by equal pulses
=====================================================

The more a response bends, the further do single jumps depend on where they start, and the further
from the ends do set and reset by turns settle: compare EpiRAM, nearly straight, with PCMO.
"""

from mho.devices import presets
from mho.plot import device_card

# %%
# ``ag_a_si``
figure = device_card(presets.get("ag_a_si"), name="ag_a_si")

# %%
# ``taox_tio2``
figure = device_card(presets.get("taox_tio2"), name="taox_tio2")

# %%
# ``pcmo``
figure = device_card(presets.get("pcmo"), name="pcmo")

# %%
# ``alox_hfo2``
figure = device_card(presets.get("alox_hfo2"), name="alox_hfo2")

# %%
# ``epiram``
figure = device_card(presets.get("epiram"), name="epiram")

# %%
# ``taox_hfox``
figure = device_card(presets.get("taox_hfox"), name="taox_hfox")
