"""Device cards: the JART model
============================

A disc of oxygen vacancies next to the electrode. Set and reset are both abrupt, and under equal pulses all
comes of a few of them.
"""

from mho.devices import presets
from mho.plot import device_card

# %%
# ``hfox_jart``
figure = device_card(presets.get("hfox_jart"), name="hfox_jart")
