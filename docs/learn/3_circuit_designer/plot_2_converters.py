"""
Converters as they are built
============================

The bits on a data sheet are not those a network gets. How a converter is built says where its codes lie;
what that costs is seen in the layer it serves.
"""

# %%
# A SAR converter of 8 bits whose unit capacitors differ by 2 %. Its differential nonlinearity at mid-scale has
# the deviation :math:`\sigma\sqrt{2^{b}-1}` in steps.
import matplotlib.pyplot as plt
import torch

import mho
from mho.periphery import SAR, Flash, code_transitions, dnl, enob

sar = mho.ADC(8, architecture=SAR(capacitor_sigma=0.02, comparator_sigma=0.01, clock=1e9))
flash = mho.ADC(6, architecture=Flash(comparator_sigma=0.005, resistor_sigma=0.01, clock=1e9))
steps = dnl(code_transitions(sar, converters=500))
print(f"σ of the DNL at mid-scale: {steps.std(0).max():.2f} steps, {0.02 * 255**0.5:.2f} expected")
for name, adc in (("SAR, 8 bits", sar), ("flash, 6 bits", flash)):
    print(f"{name}: {enob(adc, converters=32).mean():.2f} effective bits")

# %%
# Integral and differential nonlinearity of eight of them.
figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.6), layout="constrained")
mho.plot.converter_nonlinearity(sar, 8, left)
mho.plot.converter_nonlinearity(sar, 8, right, of="differential")
plt.show()

# %%
# What a layer of 200 × 50 makes of it: the error of its outputs, with ideal converters and with these.
torch.manual_seed(0)
layer = torch.nn.Linear(200, 50)
x = torch.randn(300, 200)


def error(adc):
    analog = mho.convert(layer, mho.Hardware(dac=mho.DAC(8), adc=adc), seed=0).eval()
    mho.calibrate(analog, x[:150])
    return float((analog(x[150:]) - layer(x[150:])).norm() / layer(x[150:]).norm())


for sigma in (0.0, 0.01, 0.02, 0.04, 0.08):
    adc = mho.ADC(8, architecture=SAR(capacitor_sigma=sigma, clock=1e9))
    print(f"capacitors differ by {sigma:4.0%}: error {error(adc):.2%}")
print(f"an ideal one of 8 bits: {error(mho.ADC(8)):.2%}, of 7 bits: {error(mho.ADC(7)):.2%}")
