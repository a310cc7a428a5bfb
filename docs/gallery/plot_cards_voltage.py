"""Device cards: voltage-driven cells
==================================

All loops are pinched where the voltage is zero. On the logarithmic axis the set is abrupt where a
filament forms (HfOₓ) and gradual where ions drift (the first TiO₂ model).
"""

from mho.devices import presets
from mho.plot import device_card

# %%
# ``tio2_strukov``
figure = device_card(presets.get("tio2_strukov"), name="tio2_strukov")

# %%
# ``tio2_pickett``
figure = device_card(presets.get("tio2_pickett"), name="tio2_pickett")

# %%
# ``tiox_2018``
figure = device_card(presets.get("tiox_2018"), name="tiox_2018")

# %%
# ``tiox_2021``
figure = device_card(presets.get("tiox_2021"), name="tiox_2021")

# %%
# ``hfox_stanford_pku``
figure = device_card(presets.get("hfox_stanford_pku"), name="hfox_stanford_pku")

# %%
# ``hfox_jart``
figure = device_card(presets.get("hfox_jart"), name="hfox_jart")
