"""Neither a read nor a training step waits for an accelerator; shown without one."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.distributions import Gamma, LogNormal, Normal

import menu
import mho
from accelerator import DEVICE, NoSynchronisation, SynchronisationError, moved, on_accelerator
from mho.cells import life
from mho.cells.life import Broken
from mho.devices import LinearDevice, Spread
from mho.effects import CycleVariability, StuckAt, StuckCells, TelegraphNoise, WriteNoise
from mho.train import NoiseInjection, recipes

BASE = {
    "device": "linear",
    "encoding": "differential",
    "scaling": "largest",
    "array": "tiles",
    "dac": "none",
    "adc": "none",
    "amplifier": "none",
    "effects": "none",
    "programming": "own",
    "bias": "digital",
    "layer": "linear",
    "action": "nothing",
}
CONVERTED = {**BASE, "dac": "bits", "adc": "uniform", "action": "calibrate"}
KINDS = ("device", "encoding", "array", "dac", "adc", "amplifier", "effects", "bias")
CASES = [{**CONVERTED, kind: choice} for kind in KINDS for choice in menu.CHOICES[kind]]
CASES += [{**CONVERTED, "effects": "reading", "action": "learn", "layer": k} for k in menu.LAYERS]
SLOW = [{**BASE, kind: choice} for kind in ("device", "effects") for choice in menu.CHOICES[kind]]
SLOW += [{**CONVERTED, "effects": "stuck", "action": "age", "layer": k} for k in menu.LAYERS]
# What trains only by waiting: wires are solved by steps that look at their result, and open-loop
# programming counts pulses.
WAITING = {("array", "wires"), ("array", "wires between"), ("array", "whole lines")}
WAITING |= {("device", "exponential")}

READS = 400


def name_of(case):
    return ", ".join(f"{k} {v}" for k, v in case.items() if v != BASE[k]) or "base"


def step(model, x):
    y = model(x)
    if model.training and y.requires_grad:
        y.square().mean().backward()
    return y


def check(model, x, *, training=True):
    """Read, and train, on the pretended accelerator; constants may be copied in a first call."""
    there = on_accelerator(model)
    for mode in (False, True) if training else (False,):
        there.train(mode)
        there(moved(x))
        with NoSynchronisation():
            assert step(there, moved(x)).device == DEVICE


def ready(case):
    """Return a model that a case's action has happened to, and inputs; skip what is refused."""
    try:
        model = menu.built(case["layer"], menu.hardware_of(case), seed=3)
    except ValueError:
        pytest.skip("refused")
    x = menu.given(case["layer"])
    menu.ACTIONS[case["action"]](model, x)
    return model, x


@pytest.mark.parametrize(
    "case", [*CASES, *(pytest.param(case, marks=pytest.mark.slow) for case in SLOW)], ids=name_of
)
def test_nothing_waits(case):
    model, x = ready(case)
    model(x)
    waits = not WAITING.isdisjoint(case.items())
    check(model, x, training=not waits)
    if waits:
        with pytest.raises((SynchronisationError, NotImplementedError, RuntimeError)):
            check(model, x)


class Lookup(nn.Module):
    """A table read by its rows, and turned over as the head."""

    def __init__(self, *, tied):
        super().__init__()
        self.table, self.head = nn.Embedding(11, 6, padding_idx=0), nn.Linear(6, 11, bias=False)
        if tied:
            self.head.weight = self.table.weight

    def forward(self, x):
        return self.head(self.table(x))


SERIAL = menu.hardware_of({**CONVERTED, "effects": "reading", "dac": "serial"})
BOUNDED = {
    "calibrated": menu.hardware_of({**CONVERTED, "effects": "reading"}),
    "serial, sliced": SERIAL.replace(encoding=menu.ENCODINGS["sliced"](menu.SCALINGS["largest"])),
    "per call": menu.hardware_of(
        {**CONVERTED, "effects": "reading", "dac": "per call", "adc": "per call"}
    ),
    "unfolding": menu.hardware_of({**CONVERTED, "adc": "log minmax", "effects": "telegraph"}),
}


@pytest.mark.parametrize(
    ("kind", "layer", "batch"),
    [
        ("calibrated", "linear", 8),
        ("serial, sliced", "groups", 2),
        ("per call", "linear", 8),
        ("unfolding", "linear", 8),
    ],
)
def test_reads_in_bounded_memory_wait_for_nothing(kind, layer, batch):
    """Block by block, with the noise of a block drawn twice."""
    model, x = menu.built(layer, BOUNDED[kind], seed=3), menu.given(layer, batch=batch)
    mho.calibrate(model, x)
    mho.limit_memory(model, 1500)
    check(model, x)


@pytest.mark.parametrize("hardware", [mho.Hardware(), SERIAL], ids=["ideal", "serial"])
@pytest.mark.parametrize("tied", [False, True])
def test_lookups_wait_for_nothing(tied, hardware):
    tokens = torch.randint(11, (3, 5))
    model = mho.convert(Lookup(tied=tied), hardware, embeddings=True).eval()
    mho.calibrate(model, tokens)
    check(model, tokens)


@pytest.mark.parametrize("name", ["analog_foundation_model", "rasch_2023", "analognets"])
def test_steps_of_recipes_wait_for_nothing(name):
    recipe, x = recipes.named(name), menu.given("two")
    digital = menu.LAYERS["two"][0]()
    model = recipe.prepare(digital, recipe.hardware(mho.Hardware()), x)
    check(model, x)


@pytest.mark.parametrize("settings", [{"program": False}, {"cells_dtype": torch.float16}])
def test_half_precision_waits_for_nothing(settings):
    digital = menu.LAYERS["two"][0]().to(torch.bfloat16)
    model, x = mho.convert(digital, SERIAL, **settings), menu.given("two").to(torch.bfloat16)
    if "program" not in settings:
        mho.calibrate(model.eval(), x)
        check(model, x)
        return
    there = on_accelerator(model).train()
    there(moved(x))
    with NoSynchronisation():
        step(there, moved(x))


def test_practice_waits_for_nothing():
    practice = NoiseInjection(effects=(StuckAt(0.1), WriteNoise(0.1)), ages=(1.0, 1e6), noise=2.0)
    # What a chip's own cells drew at their birth is drawn again on the host when it is needed.
    for own, effects in ((False, "drift"), (True, "none")):
        model = menu.built("two", mho.Hardware(effects=menu.EFFECTS[effects]), seed=3)
        for crossbar in mho.crossbars(model).values():
            crossbar.inject_noise(practice.replace(own_cells=own))
        check(model, menu.given("two"))


def test_steps_between_solutions_of_wires_do_not_wait():
    array = mho.Array(8, 8, wires=menu.WIRES, solve_every=100)
    model = menu.built("linear", mho.Hardware(array=array), seed=3).train()
    x = menu.given("linear")
    step(model, x)  # solves
    there = on_accelerator(model)
    for wires in (crossbar._wires for crossbar in mho.crossbars(there).values()):
        wires._seen, wires._due = [], False
    with NoSynchronisation():
        step(there, moved(x))


def test_named_cells_and_windows_that_cross():
    places = ((0, 1, 2), (1, 3, 0))
    wide = LinearDevice(
        g_min=Spread(Normal(4e-5, 2e-5), low=1e-6), g_max=Spread(Gamma(4.0, 5e4), low=1e-6)
    )
    cycles = CycleVariability(
        r_on=Spread(LogNormal(9.2, 1.0)), r_off=Spread(LogNormal(10.0, 1.0), low=1.0)
    )
    effects = (StuckCells(places, (1e-5, 1e-6)), StuckAt(0.1, 0.1), cycles, TelegraphNoise(0.1))
    model = menu.built("linear", mho.Hardware(device=wide, effects=effects), seed=3)
    check(model, menu.given("linear"))


def test_the_checker_finds_what_waits():
    x = torch.empty(3, device=DEVICE)
    waiting = [
        lambda: x.to("cpu"),
        lambda: torch.ones(3).to(DEVICE),
        lambda: torch.tensor([1.0, 2.0], device=DEVICE),
        lambda: x.new_tensor(1.0),
        lambda: x[x > 0],
        lambda: x + torch.ones(3),
        lambda: x.repeat_interleave(torch.empty(3, dtype=torch.int64, device=DEVICE)),
        lambda: torch.equal(x, x),
        lambda: x.masked_select(x > 0),
    ]
    for function in waiting:
        with pytest.raises((SynchronisationError, RuntimeError)), NoSynchronisation():
            function()
    with NoSynchronisation():
        assert (x + 1.0).device == DEVICE
        assert torch.ones(2).sum().item() == 2.0


# ── drawing without looking ──────────────────────────────────────────────────────────────────


def test_broken_cells_of_unknown_number_are_those_of_known_number():
    like = torch.rand(2, 3, 4, dtype=torch.float64)
    at, g = torch.tensor([3, 17, 8]), torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    known = Broken(at, g)
    nowhere = torch.tensor([like.numel()] * 2)
    unknown = Broken(torch.cat((at, nowhere)), torch.cat((g, g[:2])), padded=True)
    assert torch.equal(known.keep(like), unknown.keep(like))
    assert torch.equal(known.keep(like.mT), unknown.keep(like.mT))
    assert torch.equal(known.mask(like), unknown.mask(like))
    assert torch.equal(known.dense(like)[1], unknown.dense(like)[1])
    also = Broken(torch.tensor([17, 5]), torch.tensor([7.0, 8.0], dtype=torch.float64))
    wanted = known.joined(also, like).keep(like)
    for one in (known, unknown):
        for two in (also, Broken(*also[:2], padded=True)):
            assert torch.equal(one.joined(two, like).keep(like), wanted)


@pytest.mark.parametrize("encoding", ["differential", "sliced"])
def test_training_reads_of_broken_cells_do_not_depend_on_how_they_are_drawn(encoding, monkeypatch):
    case = {**BASE, "encoding": encoding, "effects": "stuck"}
    effects = (StuckAt(0.1, 0.1), WriteNoise(0.03))
    hardware = menu.hardware_of(case).replace(effects=effects)
    model = menu.built("linear", hardware, seed=3).train()
    x = menu.given("linear")[:1]

    def moments():
        torch.manual_seed(0)
        with torch.no_grad():
            reads = torch.stack([model(x) for _ in range(READS)])
        return reads.mean(0), reads.std(0)

    mean, deviation = moments()
    monkeypatch.setattr("mho.core.random.foreseen", lambda device: True)
    again = moments()
    error = deviation / READS**0.5
    assert bool(((again[0] - mean).abs() < 5 * 2**0.5 * error).all())
    torch.testing.assert_close(again[1], deviation, rtol=0.35, atol=1e-6)


def test_crossing_windows_are_kept_in_order_without_looking(monkeypatch):
    device = LinearDevice(
        g_min=Spread(Normal(2e-5, 1e-5), low=1e-6), g_max=Spread(Normal(6e-5, 2e-5))
    )
    monkeypatch.setattr("mho.core.random.foreseen", lambda device: True)
    torch.manual_seed(0)
    drawn = life.fabricate((device,), torch.empty(100_000), None).states[0]
    assert bool((drawn["g_min"] <= drawn["g_max"]).all())
    # As if every crossing pair had been drawn again until it did not cross.
    low = 2e-5 + 1e-5 * torch.randn(400_000)
    high = 6e-5 + 2e-5 * torch.randn(400_000)
    fine = (low < high) & (low > 1e-6) & (high > 0)
    for name, wanted in (("g_min", low[fine]), ("g_max", high[fine])):
        error = float(wanted.std()) * (1 / 100_000 + 1 / len(wanted)) ** 0.5
        assert abs(float(drawn[name].mean()) - float(wanted.mean())) < 6 * error


def test_a_model_moved_as_a_whole_is_the_same_model():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = nn.Sequential(menu.built("two", mho.Hardware(), seed=1))
        there = on_accelerator(model)
    assert list(there.state_dict()) == list(copy.deepcopy(model).state_dict())
    held = {k: t for k, t in there.state_dict().items() if not k.endswith("_extra_state")}
    assert all(t.device == DEVICE for t in held.values())
