"""Models of many layers: what is done for all at once is what would be done for each."""

import subprocess
import sys
from collections import OrderedDict

import pytest
import torch
from torch import nn

import mho
from mho.core import extra
from mho.nn import loading

HARDWARE = mho.Hardware(dac=mho.DAC(6), adc=mho.ADC(6))


def network(layers=6, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(*[nn.Linear(8, 8) for _ in range(layers)])


def calibrated(seed=0):
    model = mho.convert(network(seed=seed), HARDWARE, seed=seed)
    mho.calibrate(model, torch.rand(16, 8, generator=torch.Generator().manual_seed(1)))
    return model.eval()


# ── converting ──────────────────────────────────────────────────────────────────────────────


def test_copies_of_layers_without_hooks_have_dicts_of_their_own():
    plain = nn.Linear(8, 8)
    analog = mho.convert(plain, HARDWARE)
    empty = [name for name, value in vars(plain).items() if isinstance(value, dict) and not value]
    assert len(empty) > 5
    for name in empty:
        mine, theirs = vars(analog)[name], vars(plain)[name]
        assert mine is not theirs
        assert type(mine) is type(theirs)
    calls = []
    analog.register_forward_hook(lambda *_: calls.append(1))
    plain(torch.rand(1, 8))
    assert not calls


def test_a_dict_that_two_layers_share_is_one_in_the_copies():
    model = network(2)
    model[0].known = model[1].known = OrderedDict()
    analog = mho.convert(model, HARDWARE)
    assert analog[0].known is analog[1].known
    assert analog[0].known is not model[0].known


# ── loading ──────────────────────────────────────────────────────────────────────────────────


def test_packing_leaves_one_entry_a_layer_and_unpacking_brings_all_back():
    state = {f"a.{i}.{key}": i for i in range(20) for key in ("weight", "x.y", "x.z._extra_state")}
    state["a.free"] = 1
    whole = dict(state)
    loading.pack(state, [f"a.{i}." for i in range(20)])
    assert len(state) == 21
    for i in range(20):
        loading.unpack(state, f"a.{i}.")
    assert state == whole


def test_a_checkpoint_comes_back_whole():
    model, other = calibrated(), calibrated(seed=5)
    saved = model.state_dict()
    found = other.load_state_dict(saved)
    assert not found.missing_keys
    assert not found.unexpected_keys
    again = other.state_dict()
    assert again.keys() == saved.keys()
    for key, value in saved.items():
        same = torch.equal(again[key], value) if isinstance(value, torch.Tensor) else None
        assert again[key] == value if same is None else same, key
    x = torch.rand(3, 8)
    assert torch.equal(model(x), other(x))


def test_missing_and_unexpected_entries_are_reported_by_their_names():
    model = calibrated()
    state = model.state_dict()
    del state["3.crossbar.gain"]
    state["2.crossbar.nonsense"] = torch.zeros(1)
    found = model.load_state_dict(state, strict=False)
    assert found.missing_keys == ["3.crossbar.gain"]
    assert found.unexpected_keys == ["2.crossbar.nonsense"]
    with pytest.raises(RuntimeError, match=r"(?s)3\.crossbar\.gain.*2\.crossbar\.nonsense"):
        model.load_state_dict(state)


def test_a_hook_on_the_way_sees_every_entry():
    model = mho.convert(nn.Sequential(network(2), network(2)), HARDWARE)
    seen = []
    hook = lambda module, state, prefix, *_: seen.extend(state)  # noqa: E731
    model[1].register_load_state_dict_pre_hook(hook)
    state = model.state_dict()
    model.load_state_dict(state)
    assert set(seen) == {key for key in state if key.startswith("1.")}


def test_the_saved_hardware_of_a_state_is_the_states_own():
    model = calibrated()
    state = model.state_dict()
    told = extra.plain(state["2.crossbar._extra_state"])
    told["hardware"]["adc"]["bits"] = 5
    state["2.crossbar._extra_state"] = extra.packed(told)
    with pytest.raises(ValueError, match=r"2\.crossbar.*adc\.bits: expected 6, found 5"):
        model.load_state_dict(state)
    model.load_state_dict(model.state_dict())


def test_every_place_of_a_layer_is_looked_at():
    once = nn.Linear(8, 8)
    model = mho.convert(nn.Sequential(once, nn.ReLU(), once), HARDWARE, seed=1)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = mho.convert(nn.Sequential(once, nn.ReLU(), once), HARDWARE, seed=2).state_dict()
    state["2.crossbar.cells.g"] = -state["2.crossbar.cells.g"]
    with pytest.raises(ValueError, match=r"2\.crossbar\.cells\.g: expected finite conductances"):
        model.load_state_dict(state)
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0.0, atol=0.0, equal_nan=True)


def test_a_hook_of_a_layer_that_changes_entries_is_looked_after():
    model = mho.convert(network(2), HARDWARE)
    state = model.state_dict()

    def hook(module, entries, prefix, *_):
        entries[f"{prefix}crossbar.cells.g"] = -entries[f"{prefix}crossbar.cells.g"]

    model[1].register_load_state_dict_pre_hook(hook)
    with pytest.raises((ValueError, RuntimeError), match="expected finite conductances"):
        model.load_state_dict(state)


def test_saving_does_not_import_what_exports():
    program = (
        "import sys, mho, torch\n"
        "model = mho.convert(torch.nn.Linear(2, 2), mho.Hardware(adc=mho.ADC(8)))\n"
        "model.state_dict()\n"
        "sys.exit('torch.onnx' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# ── calibration ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("correct", [True, False])
def test_ranges_found_together_are_those_found_one_by_one(correct, monkeypatch):
    from mho.model import calibrate

    x = torch.rand(16, 8)
    wide = mho.Hardware(dac=mho.DAC(5), adc=mho.ADC(6))
    overrides = {"1": wide, "4": wide.replace(dac=mho.DAC(5, percentile=99.0))}
    found = []
    for at_once in (calibrate._AT_ONCE, 1):
        monkeypatch.setattr(calibrate, "_AT_ONCE", at_once)
        model = mho.convert(network(), HARDWARE, overrides=overrides)
        mho.calibrate(model, x, correct=correct)
        found.append(model.state_dict())
    for key, value in found[0].items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, found[1][key]), key
    assert not any(c.observed for c in mho.crossbars(model).values())
