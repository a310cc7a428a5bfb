"""Crossbars without cells until programmed; models on the meta device; cells in float16."""

import copy
import pickle

import pytest
import torch
from torch import nn

import mho
from mho.effects import PowerLawDrift, ReadNoise, StuckAt, TelegraphNoise, WriteNoise
from mho.train import NoiseInjection

CONVERTERS = {"dac": mho.DAC(8), "adc": mho.ADC(8), "array": mho.Array(8, 8)}
EFFECTS = (StuckAt(low=0.05, high=0.02), WriteNoise(0.02), PowerLawDrift(0.05, nu_spread=0.01))
HARDWARE = {
    "ideal": mho.Hardware(),
    "effects": mho.Hardware(effects=(*EFFECTS, ReadNoise(0.01)), **CONVERTERS),
    "per cell": mho.Hardware(effects=(TelegraphNoise(0.05),)),
    "PCM": mho.Hardware(device=mho.devices.PCM(), adc=mho.ADC(8)),
    "pulses": mho.Hardware(device=mho.devices.SoftBoundsDevice()),
    "broken cells known": mho.Hardware(
        encoding=mho.encoding.InnerFaultTolerance(), effects=(StuckAt(low=0.1),)
    ),
    "amplifiers": mho.Hardware(amplifier=mho.Amplifier(offset=1e-7), adc=mho.ADC(8)),
}


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(3, 4, 3, groups=1), nn.Flatten(), nn.Linear(20, 6))


X = torch.linspace(-1, 1, 42).view(2, 3, 7)


def same(one, other):
    """All that two models hold is equal, bit by bit."""
    a, b = one.state_dict(), other.state_dict()
    assert a.keys() == b.keys()
    for key, value in a.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, b[key], rtol=0, atol=0, equal_nan=True)
        else:
            assert value == b[key], key


@pytest.mark.parametrize("name", HARDWARE)
def test_programming_later_gives_the_very_cells_of_programming_at_once(name):
    hardware = HARDWARE[name]
    at_once = mho.convert(model(), hardware, seed=3)
    later = mho.convert(model(), hardware, seed=3, program=False)
    torch.manual_seed(5)
    wanted = at_once.train()(X)
    torch.manual_seed(5)
    found = later.train()(X)  # nor does training tell
    assert torch.equal(found, wanted)
    twins = (copy.deepcopy(later), pickle.loads(pickle.dumps(later)))
    fresh = mho.convert(model(), hardware, seed=3).train()
    for one in (later, *twins):
        mho.program(one)
        same(one, fresh)
    assert torch.isfinite(later.eval()(X)).all()


def test_nothing_is_kept_of_single_cells():
    hardware = mho.Hardware(effects=EFFECTS, **CONVERTERS)
    layer = nn.Linear(200, 100)
    lean = mho.convert(layer, hardware, program=False).train()
    lean(torch.randn(4, 200)).sum().backward()
    held = sum(b.untyped_storage().nbytes() for b in lean.buffers())
    assert held < 0.2 * layer.weight.numel()  # bytes: what is kept by column
    assert not lean.crossbar.fabricated
    assert not any(key.endswith("cells.g") for key in lean.state_dict())


REFUSED = {
    "read": lambda m: m.eval()(X),
    "age": lambda m: mho.age(m, 1.0),
    "compensate": mho.compensate,
    "calibrate": lambda m: mho.calibrate(m, X),
    "collapse": mho.collapse,
    "G": lambda m: m[0].crossbar.G,
    "weight": lambda m: m[0].crossbar.weight,
    "store": lambda m: m[0].crossbar.store(torch.zeros(2, 9, 4)),
    "transposed": lambda m: torch.zeros(1, 4) @ m[0].crossbar.T,
    "own cells": lambda m: m[0].crossbar.inject_noise(NoiseInjection(own_cells=True)),
    "chip": lambda m: mho.chip.Chip(64, 64).place(m),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_cells_is_refused_with_the_remedy(name):
    lean = mho.convert(model(), mho.Hardware(), program=False)
    with pytest.raises(ValueError, match=r"program"):
        REFUSED[name](lean)
    mho.program(lean)  # and nothing is broken by it
    same(lean.train(), mho.convert(model(), mho.Hardware()).train())


def test_checkpoints_of_every_kind_load_into_models_of_every_kind():
    hardware = mho.Hardware(effects=EFFECTS)
    programmed = mho.convert(model(), hardware, seed=3)
    lean = mho.convert(model(), hardware, seed=3, program=False)
    for source in (programmed, lean):
        for target in (
            mho.convert(model(), hardware, seed=4),
            mho.convert(model(), hardware, seed=4, program=False),
        ):
            target.load_state_dict(source.state_dict())
            same(target, source)
            mho.program(target)
            mho.program(twin := copy.deepcopy(source))
            same(target, twin)
    plain = mho.convert(model(), hardware, seed=3, program=False)
    plain.load_state_dict(model().state_dict())  # of digital weights alone, strictly
    same(plain, lean)


def test_a_new_chip_for_a_model_without_cells():
    lean = mho.convert(model(), mho.Hardware(effects=EFFECTS), program=False)
    other = mho.convert(model(), mho.Hardware(effects=EFFECTS))
    mho.fabricate(lean, 7)
    mho.fabricate(other, 7)
    for one, two in zip(mho.crossbars(lean).values(), mho.crossbars(other).values(), strict=True):
        assert torch.equal(one.G, two.G)


@pytest.mark.parametrize("name", ["ideal", "effects", "PCM"])
def test_models_on_the_meta_device_become_real_layer_by_layer(name):
    hardware, weights = HARDWARE[name], model().state_dict()
    wanted = mho.convert(model(), hardware, seed=3)
    meta = mho.convert(model().to("meta"), hardware, seed=3)
    assert all(t.is_meta for t in (*meta.parameters(), *meta.buffers()) if t.numel() > 4)
    assert "conv" in str(mho.summary(meta)).lower()
    with pytest.raises(ValueError, match="materialise"):
        mho.program(meta)
    emptied = copy.deepcopy(meta).to_empty(device="cpu")
    emptied.load_state_dict(weights)
    assigned = copy.deepcopy(meta)
    assigned.load_state_dict(weights, assign=True)
    assert torch.isfinite(assigned.train()(X)).all()  # trained before it has cells
    mho.program(assigned[0])
    with pytest.raises(ValueError, match="program"):
        assigned.eval()[2](torch.zeros(2, 20))
    mho.program(assigned)
    mho.program(emptied)
    again = mho.convert(model(), hardware, seed=3)
    mho.program(again[0])  # programmed twice, as in `assigned`
    same(assigned, again)
    same(emptied, wanted)
    whole = copy.deepcopy(meta)
    whole.load_state_dict(wanted.state_dict(), assign=True)
    same(whole, wanted)
    assert torch.isfinite(whole.eval()(X)).all()
    with pytest.raises((ValueError, RuntimeError), match="meta"):
        copy.deepcopy(meta).load_state_dict(copy.deepcopy(wanted.state_dict()))


def test_only_what_is_on_the_meta_device_waits():
    mixed = model()
    mixed[2].to("meta")
    chip = mho.convert(mixed, mho.Hardware())
    assert [c.fabricated for c in mho.crossbars(chip).values()] == [True, False]


# ── cells kept in float16 ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", HARDWARE)
def test_cells_in_float16_are_within_a_4096th_of_the_window(name):
    hardware = HARDWARE[name]
    low, high = hardware.device.window
    full = mho.convert(model(), hardware, seed=3).eval()
    half = mho.convert(model(), hardware, seed=3, cells_dtype=torch.float16).eval()
    later = mho.convert(model(), hardware, seed=3, cells_dtype=torch.float16, program=False).eval()
    mho.program(later)
    same(later, half)
    for one, two in zip(mho.crossbars(half).values(), mho.crossbars(full).values(), strict=True):
        assert one.state_dict()["cells.g"].dtype == torch.float16
        error = (one.G - two.G)[two.G.le(high)].abs().max() / (high - low)
        assert error < 1.01 * 2**-12
    assert (half(X) - full(X)).detach().abs().max() < 0.1
    mho.age(half, 1e3)
    assert torch.isfinite(half(X)).all()
    state = half.state_dict()
    full.load_state_dict(state)
    twin = mho.convert(model(), hardware, seed=9, cells_dtype=torch.float16).eval()
    twin.load_state_dict(state)
    same(twin, half)
    for one, two in zip(mho.crossbars(half).values(), mho.crossbars(full).values(), strict=True):
        assert torch.equal(one.G, two.G)
    twin.load_state_dict(full.state_dict())
    for one, two in zip(mho.crossbars(twin).values(), mho.crossbars(full).values(), strict=True):
        assert torch.allclose(one.G, two.G, rtol=0, atol=2**-12 * (high - low))


def test_broken_cells_outside_of_the_window_are_kept_as_they_are():
    crossbar = mho.Crossbar(4, 3, mho.Hardware(), kept_as=torch.float16)
    mask = torch.zeros(2, 4, 3, dtype=torch.bool)
    mask[0, 1, 2] = mask[1, 0, 0] = True
    g = torch.full((2, 4, 3), 5e-4)
    g[1, 0, 0] = 100.0  # a short, of a million windows
    cells = crossbar.cells.live()
    cells.break_too(mask, g)
    crossbar.commit(cells=cells)
    crossbar.program(torch.randn(4, 3))
    crossbar.age(10.0)
    assert torch.equal(crossbar.G[mask], g[mask])
    assert torch.equal(crossbar.stuck, mask)


def test_cells_in_float16_are_not_changed_in_place():
    hardware = mho.Hardware(device=mho.devices.SoftBoundsDevice())
    crossbar = mho.Crossbar(4, 3, hardware, kept_as=torch.float16)
    before = crossbar.G
    cell, one = torch.tensor([0]), torch.tensor([1])
    for change in (
        lambda: crossbar.cells.pulse(1),
        lambda: crossbar.cells.pulse_at(cell, one),
        lambda: crossbar.cells.reset(),
        lambda: crossbar.cells.program(torch.tensor(1e-6)),
        lambda: setattr(crossbar.cells, "g", before),
    ):
        with pytest.raises(ValueError, match="float16"):
            change()
    assert torch.equal(crossbar.G, before)
    for bad in (torch.bfloat16, "float16", torch.float32):
        with pytest.raises(ValueError, match="cells_dtype"):
            mho.convert(model(), hardware, cells_dtype=bad)
    chip = mho.convert(model(), mho.Hardware(), cells_dtype=torch.float16)
    with pytest.raises(ValueError, match="float16"):
        mho.chip.Chip(64, 64).place(chip)


def test_memory_a_weight():
    layer = nn.Linear(256, 256, bias=False)
    bytes_a_weight = {}
    for name, settings in {
        "float32": {},
        "float16": {"cells_dtype": torch.float16},
        "none": {"program": False},
    }.items():
        chip = mho.convert(layer, mho.Hardware(), **settings).train()
        chip(torch.randn(2, 256))
        held = sum(b.untyped_storage().nbytes() for b in chip.buffers())
        bytes_a_weight[name] = held / layer.weight.numel()
        assert chip.crossbar.reader._stored is None  # reads of stored cells keep nothing now
    assert bytes_a_weight["float32"] == pytest.approx(8, abs=0.1)
    assert bytes_a_weight["float16"] == pytest.approx(4, abs=0.1)
    assert bytes_a_weight["none"] == pytest.approx(0, abs=0.1)
