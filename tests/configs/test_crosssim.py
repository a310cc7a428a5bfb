"""CrossSim's parameters become hardware that computes what its equations say."""

import json
import math

import numpy as np
import pytest
import torch

import mho
from configs.texts import crosssim
from mho.compat.configs import from_crosssim

_MVM = "xbar__adc__mvm__"
_DEVICE = "xbar__device__"


def lost(translation):
    return {entry.setting for entry in translation.lost}


def leaves(values, prefix=""):
    for name, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_everything_of_the_source_is_accounted_for_once():
    given = crosssim(xbar__device__frobnication=3, core__style=2, core__weight_bits=8)
    found = from_crosssim(given)
    names = [entry.setting for entry in (*found.matched, *found.unmatched)]
    assert len(names) == len(set(names))
    assert set(leaves(given)) <= set(names)
    assert "xbar.device.frobnication" in lost(found)


def test_files_texts_and_objects_with_as_dict_are_read_alike(tmp_path):
    given = crosssim()
    (tmp_path / "core.json").write_text(json.dumps(given))

    class Parameters:
        def as_dict(self):
            return given

    hardware = from_crosssim(given).hardware
    for form in (
        tmp_path / "core.json",
        str(tmp_path / "core.json"),
        json.dumps(given),
        Parameters(),
    ):
        assert from_crosssim(form).hardware == hardware
    with pytest.raises(ValueError, match="is not JSON"):
        from_crosssim("{ no")
    with pytest.raises(ValueError, match="have the groups 'core', 'xbar'"):
        from_crosssim({"a": 1})
    with pytest.raises(TypeError, match="a path, a JSON text or a mapping"):
        from_crosssim(3)


def rounded(values, levels, low, high):
    """CrossSim's quantiser: so many levels from the lowest to the highest, both among them."""
    steps = (levels - 1) / (high - low)
    return np.rint((np.clip(values, low, high) - low) * steps) / steps + low


@pytest.mark.parametrize("subtract", [True, False])
def test_a_balanced_core_is_its_equations(subtract):
    torch.manual_seed(0)
    layer = torch.nn.Linear(50, 9, bias=False).double()
    x = torch.randn(40, 50, dtype=torch.float64)
    given = crosssim(core__balanced__subtract_current_in_xbar=subtract)
    chip = mho.convert(layer, from_crosssim(given).hardware, seed=0).eval()
    w = layer.weight.detach().numpy()
    largest, ratio = np.abs(w).max(), 0.1
    positive, negative = (
        ratio + (1 - ratio) * np.clip(sign * w / largest, 0, 1) for sign in (1, -1)
    )
    drive = rounded(x.numpy() / 2.0, 255, -1, 1)  # sign and magnitude: 2^8 - 1 levels
    if subtract:
        read = rounded(drive @ (positive - negative).T, 255, -6, 6)
    else:
        read = rounded(drive @ positive.T, 255, -6, 6) - rounded(drive @ negative.T, 255, -6, 6)
    wanted = read / (1 - ratio) * largest * 2.0
    off = np.abs(chip(x).detach().numpy() - wanted)
    step = 12 / 254 / (1 - ratio) * largest * 2.0
    assert np.mean(off > 1e-4 * step) < 0.01  # but for numbers half-way between two levels
    assert off.max() < 2.1 * step


def test_granular_bit_serial_digits_lose_nothing_but_the_rounding_of_weights():
    torch.manual_seed(0)
    layer = torch.nn.Linear(40, 7, bias=False).double()
    given = crosssim(
        core__style="BITSLICED", core__weight_bits=8,
        core__bit_sliced={"style": 1, "num_slices": 7},
        xbar__device__infinite_on_off_ratio=True, xbar__device__cell_bits=1,
        **{_MVM + "adc_range_option": "GRANULAR", _MVM + "adc_per_ibit": True, _MVM + "bits": 8,
           "xbar__dac__mvm__input_bitslicing": True},
    )  # fmt: skip
    found = from_crosssim(given)
    hardware = found.hardware
    assert hardware.encoding == mho.encoding.BitSliced(bits=8, bits_per_cell=1)
    assert hardware.dac.mode == "bit_serial"
    # One step of the converter is one cell's current, times 128/127 for sign-magnitude inputs.
    cell = hardware.dac.v_max * 1e-4
    assert hardware.adc.range / 127 == pytest.approx(cell * 128 / 127)
    x = torch.randn(30, 40, dtype=torch.float64).clamp(-2, 2)
    out = mho.convert(layer, hardware, seed=0).eval()(x)
    ideal = layer(x)
    assert float((out - ideal).std() / ideal.std()) < 0.02


@pytest.mark.parametrize(
    ("model", "factor", "of"),
    [
        ("NormalIndependentDevice", 1.0, "range"),
        ("UniformIndependentDevice", 1 / math.sqrt(12), "range"),
        ("NormalProportionalDevice", 1.0, "value"),
        ("UniformProportionalDevice", 1 / math.sqrt(12), "value"),
    ],
)
def test_errors_of_generic_devices_have_their_size(model, factor, of):
    error = {"enable": True, "model": model, "magnitude": 0.02}
    found = from_crosssim(crosssim(**{_DEVICE + "programming_error": error}))
    torch.manual_seed(0)
    layer = torch.nn.Linear(200, 200, bias=False)
    chip = mho.convert(layer, found.hardware, seed=0).eval()
    (crossbar,) = mho.crossbars(chip).values()
    g_max, g_min = 1e-4, 1e-5
    limit = layer.weight.detach().abs().max()
    asked = (layer.weight.detach().T / limit).clamp(min=0.0) * (g_max - g_min) + g_min
    held = crossbar.conductance[0]
    size = torch.full_like(asked, g_max) if of == "range" else asked
    error = ((held - asked) / size)[asked > 0.2 * g_max]
    assert float(error.std()) == pytest.approx(0.02 * factor, rel=0.02)
    assert (
        bool(found.inexact) is True
    )  # conductances are never negative; uniform errors are Gaussian


def test_read_noise_is_drawn_at_every_read():
    noise = {"enable": True, "model": "NormalProportionalDevice", "magnitude": 0.1}
    hardware = from_crosssim(crosssim(**{_DEVICE + "read_noise": noise})).hardware
    assert hardware.effects == (mho.effects.ReadNoise(0.1, relative_to="value"),)


def test_phase_change_cells_have_its_own_fit():
    error = {"enable": True, "model": "PCMJoshi", "magnitude": 0}
    given = crosssim(**{_DEVICE + "programming_error": error, _DEVICE + "Rmin": 40e3,
                        _DEVICE + "Rmax": 4e6})  # fmt: skip
    device = from_crosssim(given).hardware.device
    g = torch.tensor([5.0, 20.0], dtype=torch.float64)
    wanted = 0.28638599 + 0.07585724 * g - 0.00178767 * g**2
    assert torch.allclose(device.write_std(g * 1e-6, None) * 1e6, wanted)


def test_converter_ranges_are_in_units_of_one_cell():
    given = crosssim(**{_MVM + "calibrated_range": [-2.0, 6.0], _MVM + "model": "QuantizerADC"})
    adc = from_crosssim(given).hardware.adc
    assert adc.range == pytest.approx(6.0 * 0.2 * 1e-4)
    assert adc.rest == pytest.approx(0.25)
    assert adc.step(torch.tensor(adc.range)) * 255 == pytest.approx(8.0 * 0.2e-4, rel=0.01)
    sliced = crosssim(
        core__style=2, core__weight_bits=8, core__bit_sliced={"style": 1, "num_slices": 2},
        **{_MVM + "calibrated_range": [[-2.0, 2.0], [-4.0, 4.0]]},
    )  # fmt: skip
    found = from_crosssim(sliced)
    assert found.hardware.adc.range == pytest.approx(4.0 * 0.2 * 1e-4)
    assert any("one for all slices" in entry.note for entry in found.inexact)


def test_parasitics_are_wires():
    resistances = {"enable": True, "Rp_row": 1.0, "Rp_col": 2.0, "Rp_row_terminal": 5.0}
    found = from_crosssim(crosssim(xbar__array__parasitics=resistances))
    assert found.hardware.array.wires == mho.circuit.Wires(word=1.0, bit=2.0, source=5.0)
    found = from_crosssim(
        crosssim(xbar__array__parasitics={**resistances, "gate_input": True},
                 core__balanced__interleaved_posneg=True)
    )  # fmt: skip
    assert found.hardware.array.wires == mho.circuit.Wires(bit=2.0)
    assert found.hardware.array.interleaved
    assert {"xbar.array.parasitics.gate_input", "xbar.array.parasitics.Rp_row"} <= lost(found)


def test_converters_as_built():
    given = crosssim(
        **{_MVM + "model": "SarADC", _MVM + "sigma_capacitor": 0.01, _MVM + "group_size": 8,
           _MVM + "gain_db": 60, _MVM + "split_cdac": True}
    )  # fmt: skip
    found = from_crosssim(given)
    built = found.hardware.adc.architecture
    assert built == mho.periphery.SAR(capacitor_sigma=0.01, amplifier_db=60)
    assert found.hardware.adc.columns_per_adc == 8
    assert "xbar.adc.mvm.split_cdac" in lost(found)


@pytest.mark.parametrize(
    ("changes", "settings"),
    [
        ({"core__complex_matrix": True}, {"core.complex_matrix"}),
        ({"core__balanced__style": 2}, {"core.balanced.style"}),
        ({_MVM + "stochastic_rounding": True}, {"xbar.adc.mvm.stochastic_rounding"}),
        ({_MVM + "model": "CyclicADC"}, {"xbar.adc.mvm.model"}),
        ({"xbar__adc__vmm__bits": 4, "xbar__adc___match": False}, {"xbar.adc.vmm.bits"}),
        ({"xbar__dac__mvm__input_bitslicing": True, "xbar__dac__mvm__slice_size": 2},
         {"xbar.dac.mvm.slice_size"}),
        ({_DEVICE + "time": 10.0, _DEVICE + "drift_error": {"enable": True, "model": "SONOS"}},
         {"xbar.device.time", "xbar.device.drift_error.model"}),
        ({_DEVICE + "programming_error": {"enable": True, "model": "RRAMMilo", "magnitude": 0}},
         {"xbar.device.programming_error.model"}),
        ({"core__mapping__weights__max": 1.0}, {"core.mapping.weights.max"}),
        ({_DEVICE + "nonlinear_IV": {"enable": True, "model": "X", "magnitude": 0}},
         {"xbar.device.nonlinear_IV.enable"}),
    ],
)  # fmt: skip
def test_what_has_no_counterpart_is_reported(changes, settings):
    assert settings <= lost(from_crosssim(crosssim(**changes)))


def test_other_styles_and_limits():
    found = from_crosssim(crosssim(core__style="OFFSET", core__offset__style=2))
    assert found.hardware.encoding == mho.encoding.SingleColumn()
    found = from_crosssim(crosssim(xbar__array__Icol_max=4.0, xbar__device__Vread=0.1))
    assert found.hardware.amplifier.saturation == pytest.approx(4.0 * 0.1 * 1e-4)
    with pytest.raises(ValueError, match=r"core\.style must be one of"):
        from_crosssim(crosssim(core__style="TRIPLE"))
    with pytest.raises(ValueError, match="weight_bits must be >= 2"):
        from_crosssim(crosssim(core__style=2))
