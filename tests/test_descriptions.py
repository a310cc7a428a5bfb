"""From one description to another and back: equal, and what is built of them reads alike."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import menu
import mho
from mho import fit
from mho.compat import xbtorch
from mho.core import files
from mho.core.spec import Spec
from mho.devices import Device, presets
from mho.study import Integers, Outcome, Range

X = torch.rand(5, 4, generator=torch.Generator().manual_seed(0))
W = torch.linspace(-1, 1, 12).view(4, 3)


def life(hardware):
    """What a crossbar of a hardware holds and reads: programmed, calibrated, aged."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        model = mho.convert(torch.nn.Linear(4, 3), hardware, program=False, seed=2)
        model.weight.copy_(W.T)
        model.bias.zero_()
        mho.program(model)
        mho.calibrate(model.eval(), X)
        mho.age(model, 100.0)
        return model(X)


def some(table):
    return st.sampled_from(sorted(table)).map(table.get)


@settings(
    max_examples=8, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)  # fmt: skip
@given(st.data())
def test_hardware_through_dict_json_and_yaml(tmp_path, data):
    encoding, scaling = data.draw(some(menu.ENCODINGS)), data.draw(some(menu.SCALINGS))
    parts = {
        "device": data.draw(some(menu.DEVICES)),
        "array": data.draw(some(menu.ARRAYS)),
        "dac": data.draw(some(menu.DACS)),
        "adc": data.draw(some(menu.ADCS)),
        "amplifier": data.draw(some(menu.AMPLIFIERS)),
        "effects": data.draw(some(menu.EFFECTS)),
        "programming": data.draw(some(menu.PROGRAMMING)),
    }
    try:
        hardware = mho.Hardware(encoding=encoding(scaling), **parts)
        read = life(hardware)
    except (TypeError, ValueError, RuntimeError):
        assume(False)
    mho.save_hardware(hardware, tmp_path / "chip.yaml")
    for again in (
        mho.Hardware.from_dict(hardware.to_dict()),
        mho.Hardware.from_dict(json.loads(json.dumps(hardware.to_dict()))),
        mho.load_hardware(tmp_path / "chip.yaml"),
    ):
        assert again == hardware
        assert repr(again) == repr(hardware)
        assert torch.equal(life(again), read)


MENU = [
    part
    for table in (
        menu.DEVICES, menu.DACS, menu.ADCS, menu.AMPLIFIERS, menu.ARRAYS, menu.PROGRAMMING
    )
    for part in table.values()
    if part is not None
] + [effect for group in menu.EFFECTS.values() for effect in group] + [
    make(scaling) for make in menu.ENCODINGS.values() for scaling in (menu.SCALINGS["columns"],)
    if make not in (menu.ENCODINGS["ternary"], menu.ENCODINGS["compared trits"])
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(MENU)))
def test_every_part_through_dict_json_and_yaml(number, tmp_path):
    part = MENU[number]
    files.save(part, tmp_path / "part.yaml")
    again = files.load(tmp_path / "part.yaml", Spec)
    assert type(again) is type(part)
    assert again == part == Spec.from_dict(json.loads(json.dumps(part.to_dict())))
    assert again.to_dict() == part.to_dict()


def lived(device):
    cells = device.fabricate((3, 2), seed=4)
    low, high = (float(end) for end in cells.conductance().aminmax())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cells.program(torch.linspace(low, max(high, 2e-5), 6).view(3, 2))
    cells.age(10.0)
    return torch.stack((cells.conductance(), cells.read(), cells.current(0.1)))


@pytest.mark.parametrize("name", [entry.name for entry in presets.list()])
def test_presets_through_files(name, tmp_path):
    device = presets.get(name)
    device.save(tmp_path / "device.yaml")
    again = Device.load(tmp_path / "device.yaml")
    assert again == device
    assert torch.equal(lived(again), lived(device))


def test_a_fitted_device_through_a_file(tmp_path):
    true = mho.devices.ExponentialDevice(
        g_min=2e-6, g_max=2e-5, nonlinearity_set=1.5, nonlinearity_reset=-1.0, c2c=0.01, levels=40
    )
    response = true.fabricate((6,), seed=1, dtype=torch.float64).respond(pulses=40, cycles=3)
    device = fit.exponential(response.transpose(1, 2)).device
    device.save(tmp_path / "device.yaml")
    again = Device.load(tmp_path / "device.yaml")
    assert again == device
    assert torch.equal(lived(again), lived(device))


def test_a_study_s_space_through_a_file(tmp_path):
    space = {
        "adc.bits": Integers(4, 8), "device.g_max": Range(1e-5, 1e-4, log=True),
        "dac": [mho.DAC(4), mho.DAC(6, range=2.0)], "effects": [(), menu.EFFECTS["drift"]],
    }  # fmt: skip
    hardware = mho.Hardware(adc=mho.ADC(4), dac=mho.DAC(4))
    found = mho.study.sweep(
        space, lambda hardware, seed: hardware.adc.bits, hardware=hardware, chips=1, trials=4,
        sampler="random", workers=0,
    )  # fmt: skip
    paths = found.save(tmp_path / "study.json")
    again = Outcome.load(Path(paths[0]))
    assert again == found
    assert [r.settings for r in again.records] == [r.settings for r in found.records]
    assert [r.results for r in again.records] == [r.results for r in found.records]


def numbers(accelerator):
    return {k: v for k, v in accelerator.to_mho().to_dict().items() if k != "type"}


BOARD = {"g_min": 40.0, "g_max": 90.0, "v_read": 0.25, "write_noise": 2.0, "read_noise": 1.5}


def test_every_setting_of_a_board_is_taken_to_mho_or_said():
    """Of each setting: another accelerator, or a word that it is left out."""
    kind = xbtorch.deployment.SimpleFixedPoint
    others = {
        "adc_bits": 4, "dac_bits": 3, "g_min": 41.0, "g_max": 91.0, "v_read": 0.2,
        "read_noise": 1.0, "write_noise": 1.0, "stateful": False, "xb_size": (30, 20),
        "stuck_percentage": 0.1, "stuck_mode": "ideal", "input_encoding_scheme": "linear",
        "drift_coefficient": 0.1, "drift_t0": 2.0, "drift_variation": 0.05,
        "retention_time": 9.0, "programming_seed": 3, "legacy": True,
        "weight_encoding_args": {"bits": 4},
        "weight_encoding_scheme": xbtorch.deployment.encode_LEA1,
        "xb_mapping_scheme": lambda *args, **named: None,
    }  # fmt: skip
    base = {**BOARD, "xb_size": (20, 20), "drift_coefficient": 0.05, "stuck_percentage": 0.05}
    plain = numbers(kind(**base))
    unsaid = []
    for name, value in others.items():
        changed = {**base, name: value}
        if name == "stateful":
            changed["stuck_percentage"] = 0.0
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            same = numbers(kind(**changed)) == plain
        if same and not any(name in str(w.message) for w in caught):
            unsaid.append(name)
    assert not unsaid


def test_what_follows_from_fields_of_a_board_follows_them_later():
    board = xbtorch.deployment.Daffodil(**BOARD)
    made = xbtorch.deployment.Daffodil(**{**BOARD, "g_max": 9e-5, "g_min": 4e-5})
    assert (board.unit, made.unit) == (1e-6, 1.0)
    board.g_min, board.g_max = made.g_min, made.g_max
    assert board.unit == made.unit
    assert board.dac_max_prec == 4096
    board.dac_n = 10
    assert board.dac_max_prec == 1024
    registers = board.dac_invertvout(torch.linspace(0, 1, 4000))
    assert len(registers.unique()) <= 1024
    assert float(registers.max()) <= 1023
