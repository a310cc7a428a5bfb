"""Device cards: titanium oxides
=============================

All loops are pinched where the voltage is zero. The first model, of drifting ions, switches all at once
near the end of the sweep; the others go gradually, and the last hardly opens.
"""

from mho.devices import presets
from mho.plot import device_card

# %%
# ``tio2_strukov``
figure = device_card(presets.get("tio2_strukov"), name="tio2_strukov")

# %%
# ``tiox_2018``
figure = device_card(presets.get("tiox_2018"), name="tiox_2018")

# %%
# ``tiox_2021``
figure = device_card(presets.get("tiox_2021"), name="tiox_2021")
