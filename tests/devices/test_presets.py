"""Presets: every one named, cited and a device that obeys the contract."""

import math
import re

import pytest
import torch

from mho.cells.device import Device
from mho.devices import presets
from mho.testing import DeviceContract

NAMES = [preset.name for preset in presets.list()]
# That every field acts is shown once for each class, not for each set of its values.
_OF_CLASSES = ("test_every_field_acts",)
_CONTRACTS = [
    name for name in dir(DeviceContract) if name.startswith("test_") and name not in _OF_CLASSES
]


def contract_of(name):
    class Contract(DeviceContract):
        def device(self):
            return presets.get(name)

    return Contract()


@pytest.mark.parametrize("name", NAMES)
def test_preset_obeys_the_contract(name):
    contract = contract_of(name)
    for test in _CONTRACTS:
        getattr(contract, test)()


@pytest.mark.parametrize("preset", presets.list(), ids=NAMES)
def test_preset_says_what_it_is_and_where_from(preset):
    assert isinstance(presets.get(preset.name), Device)
    assert preset.description.endswith(".")
    assert len(preset.description) < 100
    assert preset.name == "ideal" or re.search(r"(doi 10\.\d{4,5}/|arXiv:)", preset.citation)
    assert "\n" not in preset.citation


def test_names_are_unique_and_many():
    assert len(set(NAMES)) == len(NAMES) >= 20


def test_get_returns_equal_specs():
    for name in NAMES:
        assert presets.get(name) == presets.get(name)


def test_unknown_names_are_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match=r"no preset 'nonsense'.*ag_a_si"):
        presets.get("nonsense")


def test_neurosim_table():
    # Chen, Peng & Yu 2018, table I: on-resistance, on/off ratio, labels, noise.
    table = {
        "ag_a_si": (26e6, 12.5, 2.4, -4.88, 0.035),
        "taox_tio2": (5e6, 2.0, 1.85, -1.79, 0.01),
        "pcmo": (23e6, 6.84, 3.68, -6.76, 0.01),
        "alox_hfo2": (16.9e3, 4.43, 1.94, -0.61, 0.05),
    }
    for name, (r_on, ratio, up, down, noise) in table.items():
        device = presets.get(name)
        assert device.g_max == pytest.approx(1 / r_on)
        assert device.g_max / device.g_min == pytest.approx(ratio)
        assert (device.nonlinearity_set, device.nonlinearity_reset) == (up, down)
        assert device.c2c == noise
    # The window of MLP+NeuroSim's real device.
    real = presets.get("ag_a_si")
    assert (real.g_min, real.g_max) == pytest.approx((3.0769e-9, 3.8462e-8), rel=1e-4)


@pytest.mark.parametrize(
    ("name", "step", "low", "high", "slopes"),
    [
        ("ecram_lithium", 0.002, -0.8276, 1.1724, (0.1153, 0.5085)),
        ("ecram_metal_oxide", 2.8214e-4, -0.8286, 1.1714, (0.4152, 0.7342)),
    ],
)
def test_ecram_steps_are_those_of_the_published_fit(name, step, low, high, slopes):
    device = presets.get(name)
    device = device.replace(
        c2c=0.0,
        d2d=0.0,
        g_min=device.window[0],
        g_max=device.window[1],
        **{n: getattr(device, n).nominal for n in ("asymmetry", "slope_set", "slope_reset")},
    )
    siemens = (device.g_max - device.g_min) / (high - low)
    weight = torch.linspace(low + 0.01, high - 0.01, 50, dtype=torch.float64)
    cells = device.fabricate((50,), dtype=torch.float64)
    for sign, expected in (
        (1, step * (1 - slopes[0] * weight / high)),
        (-1, -step * (1 - slopes[1] * weight / low)),
    ):
        cells.write(device.g_min + (weight - low) * siemens)
        before = cells.conductance().clone()
        cells.pulse(sign)
        # The closed form of one pulse is exact.
        assert torch.allclose(
            (cells.conductance() - before) / siemens, expected, rtol=1e-6, atol=0.0
        )


def test_gokmen_vlasov_has_1200_states():
    device = presets.get("gokmen_vlasov")
    low, high = device.window
    assert (high - low) / device.step == pytest.approx(1200)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    # 30 % of the half window; 5 % of the bounds, in weights, of which 2 are 100 µS.
    [
        ("gokmen_vlasov", 0.3, 0.3),
        ("ecram_lithium", 0.05 * 0.8276, 0.05 * 1.1724),
        ("ecram_metal_oxide", 0.05 * 0.8286, 0.05 * 1.1714),
    ],
)
def test_bounds_of_cells_differ_as_published(name, low, high):
    cells = presets.get(name).fabricate((20_000,), seed=0, dtype=torch.float64)
    drawn, half = cells.parameters_drawn(), 50e-6
    error = 4 / (2 * 20_000) ** 0.5  # of a standard deviation, relative
    for bound, expected in (("g_min", low), ("g_max", high)):
        assert float(drawn[bound].std()) == pytest.approx(expected * half, rel=error, abs=0.0)


def test_fefet_jumps_grow_with_the_voltage():
    jumps = []
    for name in ("fefet_2v5", "fefet_3v0", "fefet_3v5"):
        device = presets.get(name)
        cells = device.fabricate((500,), seed=0, dtype=torch.float64)
        cells.write(torch.tensor(device.window[0]))
        cells.pulse(1)
        jumps.append(float((cells.conductance() - device.window[0]).mean()))
    assert jumps[0] < jumps[1] < jumps[2]


def test_pulse_presets_run_through_their_window():
    for name in NAMES:
        device = presets.get(name)
        cells = device.fabricate((20,), seed=0, dtype=torch.float64)
        if not hasattr(cells, "pulse"):
            continue
        low, high = device.window
        cells.write(torch.tensor(low))
        start = cells.conductance().mean()
        cells.pulse(int(getattr(device, "levels", 300)))
        top = float((cells.conductance().mean() - start) / (high - low))
        assert math.isfinite(top)
        assert top > 0.02, name
