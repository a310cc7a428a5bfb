"""The conformance kit of populations, on representative devices."""

import torch

import menu
import mho
from mho import effects
from mho.devices import MTJ, presets
from mho.testing import CellsContract

SPREAD_STEP = menu.DEVICES["step"]
DRIFT = (effects.PowerLawDrift(0.06, nu_spread=0.02), effects.WriteNoise(0.02))
BOTH = (
    effects.PowerLawDrift(0.03),
    effects.Retention(lrs=effects.FailureLaw(p0=1e3, stable=2e6)),
)


def kit(name, device, *acting):
    body = {"device": lambda self: device, "effects": lambda self: acting}
    return type(f"Test{name}", (CellsContract,), body)


TestLinear = kit("Linear", menu.DEVICES["linear"])
TestSpread = kit("Spread", menu.DEVICES["spread"], *DRIFT)
TestFailing = kit("Failing", menu.DEVICES["linear"], *BOTH)
TestReading = kit("Reading", menu.DEVICES["linear"], *menu.EFFECTS["reading"])
TestTelegraph = kit("Telegraph", menu.DEVICES["linear"], *menu.EFFECTS["telegraph"][:1])
TestLasting = kit("Lasting", menu.DEVICES["linear"], *menu.EFFECTS["lasting"])
TestRelaxing = kit("Relaxing", menu.DEVICES["linear"], *menu.EFFECTS["relaxation"])
TestPCM = kit("PCM", menu.DEVICES["pcm"])
TestPCMFailing = kit("PCMFailing", menu.DEVICES["pcm"], *BOTH)
TestWan = kit("Wan", menu.DEVICES["wan"])
TestCMO = kit("CMO", menu.DEVICES["cmo"])
TestExponential = kit("Exponential", menu.DEVICES["exponential"], *DRIFT)
TestStep = kit("Step", SPREAD_STEP)
TestFeFET = kit("FeFET", presets.get("fefet_3v0"))
TestVTEAM = kit("VTEAM", menu.DEVICES["vteam"], *DRIFT)
TestYakopcic = kit("Yakopcic", menu.DEVICES["yakopcic"])
TestPickett = kit("Pickett", presets.get("tio2_pickett"))
TestMTJ = kit("MTJ", MTJ())


def test_reset_cells_are_at_the_lowest_conductance_they_reach():
    crossbar = mho.convert(torch.nn.Linear(4, 3), mho.Hardware()).crossbar
    crossbar.cells.reset()
    low, _ = crossbar.hardware.device.window
    assert low > 0.0
    assert torch.equal(crossbar.cells.g, torch.full_like(crossbar.cells.g, low))
