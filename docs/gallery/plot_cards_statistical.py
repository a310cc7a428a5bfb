"""Device cards: phase-change, ReRAM arrays and magnetic cells
===========================================================

Phase-change cells drift down over decades of time, and the less conducting the faster; ReRAM relaxes
within hours and then stays. The magnetic cell has two states, and chance decides when it switches.
"""

from mho.devices import presets
from mho.plot import device_card

# %%
# ``pcm_joshi``
figure = device_card(presets.get("pcm_joshi"), name="pcm_joshi")

# %%
# ``pcm_hermes_1``
figure = device_card(presets.get("pcm_hermes_1"), name="pcm_hermes_1")

# %%
# ``pcm_hermes_2``
figure = device_card(presets.get("pcm_hermes_2"), name="pcm_hermes_2")

# %%
# ``reram_wan``
figure = device_card(presets.get("reram_wan"), name="reram_wan")

# %%
# ``reram_cmo``
figure = device_card(presets.get("reram_cmo"), name="reram_cmo")

# %%
# ``mtj``
figure = device_card(presets.get("mtj"), name="mtj")
