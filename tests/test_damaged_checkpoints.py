"""A checkpoint in which one entry is damaged is refused by its name, and nothing has changed."""

import pytest
import torch
from torch import nn

import mho
from mho.devices import VTEAM, ExponentialDevice
from mho.effects import PowerLawDrift, ReadNoise, StuckAt
from mho.periphery import Architecture

HARDWARE = mho.Hardware(
    device=ExponentialDevice(c2c=0.05, d2d=0.1),
    effects=(StuckAt(0.1, 0.1), PowerLawDrift(0.06, nu_spread=0.02), ReadNoise(0.01)),
)


def model(seed):
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    return mho.convert(network, HARDWARE, seed=seed).eval()


def state(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def alike(one, two):
    both = [{k: v.double().nan_to_num(nan=-7.5) for k, v in each.items()} for each in (one, two)]
    same = both[0].keys() == both[1].keys()
    return same and all(torch.equal(both[0][k], both[1][k]) for k in both[0])


def put(at, value):
    def damage(tensor):
        tensor = tensor.clone()
        tensor.view(-1)[at] = value
        return tensor

    return damage


def text(tensor):
    return "text"


ENTRIES = {
    "g": [
        (lambda g: g[:-1], r"expected shape \[2, 4, 3\], found \[1, 4, 3\]"),
        (put(0, torch.nan), "expected finite conductances >= 0 S, found nan"),
        (put(1, -1e-6), r"expected finite conductances >= 0 S, found -1e-06"),
        (put(1, torch.inf), "expected finite conductances >= 0 S, found .*inf"),
        (torch.Tensor.long, "expected torch.float32, found torch.int64"),
        (torch.Tensor.half, "expected torch.float32 or wider, found torch.float16"),
    ],
    "pulses": [
        (lambda pulses: pulses[..., :1], r"expected shape \[2, 4, 3\], found \[2, 4, 1\]"),
        (torch.Tensor.float, "expected whole numbers, found torch.float32"),
    ],
    "broken_at": [
        (put(0, 24), r"expected places >= 0 and < 24, found \d+ … 24"),
        (put(0, -1), "expected places >= 0 and < 24, found -1"),
        (torch.Tensor.float, r"expected places \(int64, one dimension\), found torch.float32"),
        (lambda at: at[None], r"expected places \(int64, one dimension\), found torch.int64"),
    ],
    "state_2_nu": [
        (lambda nu: nu[..., None], r"expected shape \[2, 4, 3\], found \[2, 4, 3, 1\]"),
        (lambda nu: nu.to(torch.complex64), "expected real numbers, found torch.complex64"),
        (put(0, torch.nan), r"expected numbers, found nan \(1\)"),
        (lambda nu: torch.full_like(nu, torch.nan), r"expected numbers, found nan \(24\)"),
    ],
    "state_0_nonlinearity_set": [(put(5, torch.nan), r"expected numbers, found nan \(1\)")],
}
DAMAGED = [(entry, *one) for entry, some in ENTRIES.items() for one in some]
DAMAGED += [(entry, text, r"expected a tensor, found 'text' \(str\)") for entry in ENTRIES]


@pytest.mark.parametrize(("entry", "damage", "said"), DAMAGED)
def test_what_no_cells_hold_is_refused_by_name(entry, damage, said):
    saved, other = model(0), model(1)
    mho.age(saved, 10.0)
    wrong, before = dict(saved.state_dict()), state(other)
    key = f"2.crossbar.cells.{entry}"
    wrong[key] = damage(wrong[key])
    with pytest.raises(ValueError, match=rf"{key}: {said}"):
        other.load_state_dict(wrong)
    assert alike(before, state(other))
    own = {k.removeprefix("2.crossbar."): v for k, v in wrong.items() if k.startswith("2.crossbar")}
    crossbar = other[2].crossbar
    with pytest.raises(RuntimeError, match=rf"cells.{entry}: {said}"):
        crossbar.load_state_dict(own)
    assert alike(before, state(other))


@pytest.mark.parametrize("part", ["", "cells."])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (text, "_extra_state holds no named values, but 'text'"),
        (lambda packed: packed[:-9], "_extra_state: the checkpoint is damaged: .* no JSON"),
        (lambda packed: [], r"_extra_state holds no named values, but \[\]"),
    ],
)
def test_plain_values_that_are_none_are_refused_by_name(part, damage, said):
    saved, other = model(0), model(1)
    wrong, before = dict(saved.state_dict()), state(other)
    key = f"2.crossbar.{part}_extra_state"
    wrong[key] = damage(wrong[key])
    with pytest.raises(ValueError, match=said) as refused:
        other.load_state_dict(wrong)
    assert key in str(refused.value)
    assert alike(before, state(other))


@pytest.mark.parametrize(("name", "value"), [("seconds", "a day"), ("reads", -1.0)])
def test_a_clock_that_is_none_is_refused_by_name(name, value):
    crossbar = model(0)[0].crossbar
    wrong, before = dict(crossbar.state_dict()), state(crossbar)
    told = mho.core.extra.plain(wrong["cells._extra_state"])
    wrong["cells._extra_state"] = mho.core.extra.packed({**told, name: value})
    with pytest.raises(RuntimeError, match=f"cells.{name} must be"):
        crossbar.load_state_dict(wrong)
    assert alike(before, state(crossbar))


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_a_whole_checkpoint_of_another_dtype_is_taken(kind):
    saved, other = model(0), model(1)
    mho.age(saved, 10.0)
    given = {k: v.to(kind) if v.is_floating_point() else v for k, v in saved.state_dict().items()}
    other.load_state_dict(given)
    torch.testing.assert_close(other[0].crossbar.G, saved[0].crossbar.G, rtol=1e-2, atol=0.0)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("value", [torch.nan, -torch.nan, torch.inf, -torch.inf, -1e-30, -1.0])
def test_conductances_of_all_dtypes_are_looked_at(kind, value):
    cells = model(0)[0].crossbar.cells
    wrong = dict(cells.state_dict())
    wrong["g"] = put(3, value)(wrong["g"].to(kind))
    with pytest.raises(RuntimeError, match="g: expected finite conductances >= 0 S"):
        cells.load_state_dict(wrong)
    wrong["g"] = put(3, -0.0)(wrong["g"])  # of a sum that ends at nothing
    cells.load_state_dict(wrong)


def test_the_inner_state_of_switching_cells_is_looked_at():
    cells = VTEAM(r_on=1e4, r_off=1e6).fabricate((4, 3), seed=1)
    wrong, before = dict(cells.state_dict()), state(cells)
    wrong["inner"] = put(2, torch.nan)(wrong["inner"])
    with pytest.raises(RuntimeError, match=r"inner: expected numbers, found nan \(1\)"):
        cells.load_state_dict(wrong)
    assert alike(before, state(cells))


def test_a_state_that_was_drawn_from_a_heavy_tail_is_taken():
    saved, other = model(0), model(1)
    mho.age(saved, 10.0)
    given = dict(saved.state_dict())
    given["2.crossbar.cells.state_2_nu"] = put(0, torch.inf)(given["2.crossbar.cells.state_2_nu"])
    other.load_state_dict(given)


def learned(seed, name):
    torch.manual_seed(seed)
    hardware = mho.Hardware(
        dac=mho.DAC(6, range="calibrated"),
        adc=mho.ADC(6, range="calibrated", architecture=Architecture(gain=0.02)),
        encoding=mho.encoding.LEA(copies=2), effects=(StuckAt(0.1, 0.1),),
    )  # fmt: skip
    found = mho.convert(nn.Linear(6, 4), hardware, seed=seed)
    mho.calibrate(found, torch.rand(16, 6), trim=name == "trim")
    found.crossbar.learn_ranges(mho.train.InputRangeRule() if name == "learned_range" else True)
    return found


@pytest.mark.parametrize("name", [
    "scale", "digital", "gain", "offset", "trim", "learned_range", "range_shift",
])  # fmt: skip
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_corrections_and_learned_ranges_are_finite(name, value):
    saved, other = learned(0, name), learned(1, name)
    wrong, before = dict(saved.state_dict()), state(other)
    key = f"crossbar.{name}"
    wrong[key] = put(0, value)(wrong[key])
    with pytest.raises(ValueError, match=rf"{key}: expected finite numbers, found {value} \(1\)"):
        other.load_state_dict(wrong)
    assert alike(before, state(other))
