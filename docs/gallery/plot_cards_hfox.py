"""Device cards: filaments in HfOₓ
===============================

Set is abrupt: current heats the filament, which then grows faster. Reset is gradual. The second preset
differs at rest alone: its random term is frozen there, and it retains.
"""

from mho.devices import presets
from mho.plot import device_card

# %%
# ``hfox_stanford_pku``
figure = device_card(presets.get("hfox_stanford_pku"), name="hfox_stanford_pku")

# %%
# ``hfox_stanford_pku_retentive``
figure = device_card(presets.get("hfox_stanford_pku_retentive"), name="hfox_stanford_pku_retentive")
