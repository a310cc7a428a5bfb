"""Whatever interrupts it, and wherever: what changes crossbars and chips does all, or nothing."""

import copy
import warnings
from functools import partial

import pytest
import torch

import mho
from interruptions import Interrupter, Interruption, differences, fingerprint, network
from mho import effects, encoding
from mho.chip import Chip
from mho.core import extra
from mho.devices import ExponentialDevice
from mho.programming import Exact, WriteVerify, program_crossbar
from mho.train import DifferentialPair, InSitu

X = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
PULSED = ExponentialDevice(
    g_min=1e-6, g_max=1e-4, nonlinearity_set=1.0, nonlinearity_reset=-1.0, c2c=0.01, levels=20
)
EFFECTS = (
    effects.StuckAt(low=0.05, high=0.05),
    effects.WriteNoise(0.02),
    effects.PowerLawDrift(0.06, nu_spread=0.02),
    effects.Retention(hrs=effects.FailureLaw(p0=1e3, p1=1e7, p2=0.5, p3=-0.02)),
    effects.ReadNoise(0.01),
    effects.TelegraphNoise(0.1, fraction=0.2),
)
HARDWARE = mho.Hardware(
    device=PULSED,
    encoding=encoding.LEA(copies=2),
    effects=EFFECTS,
    adc=mho.ADC(6),
    dac=mho.DAC(5),
)


class World:
    """Two models and two chips: one model lies on the first chip, the other on none."""

    def __init__(self, hardware):
        self.hardware = hardware
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model = mho.convert(network(5, 4, 3), hardware, seed=1)
            self.tenant = mho.convert(network(5, 3, 2), hardware, seed=2)
            self.chip = Chip(24, 24, hardware, seed=3)
            self.other = Chip(24, 24, hardware, seed=4)
            self.chip.place(self.tenant, name="tenant")
            for model in (self.model, self.tenant):
                mho.calibrate(model, X)
                for crossbar in mho.crossbars(model).values():
                    crossbar.learn_ranges()
                    crossbar.range_shift.data += 0.1
                mho.age(model, 100.0)
                mho.compensate(model)
                mho.age(model, 100.0)
        self.saved = {n: copy.deepcopy(m.state_dict()) for n, m in self.modules.items()}
        mho.age(self.model, 5.0)
        self.chip.age(5.0)

    @property
    def modules(self):
        return {
            "model": self.model,
            "tenant": self.tenant,
            "chip": self.chip,
            "other": self.other,
        }

    @property
    def crossbar(self):
        return next(iter(mho.crossbars(self.model).values()))

    @property
    def lent(self):
        return next(iter(mho.crossbars(self.tenant).values()))


def _weight(crossbar):
    return torch.linspace(-1, 1, crossbar.rows * crossbar.cols).view(crossbar.rows, crossbar.cols)


ACTIONS = {
    "calibrate": lambda w: mho.calibrate(w.model, [X[:3], X[3:]]),
    "calibrate on a chip": lambda w: mho.calibrate(w.tenant, X),
    "compensate": lambda w: mho.compensate(w.model, "column"),
    "compensate on a chip": lambda w: mho.compensate(w.tenant),
    "maintain": lambda w: mho.maintain(w.model, 100.0, every=50.0),
    "maintain on a chip": lambda w: mho.maintain(w.tenant, 100.0, every=50.0),
    "program": lambda w: mho.program(w.model),
    "program on a chip": lambda w: mho.program(w.tenant),
    "program a layer": lambda w: w.model[0].program(),
    "program exactly": lambda w: w.crossbar.program(_weight(w.crossbar), Exact(), seed=1),
    "program a lent crossbar": lambda w: w.lent.program(_weight(w.lent)),
    "store": lambda w: w.crossbar.store(w.crossbar.G * 0.9, scale=w.crossbar.scale * 2),
    "store on a chip": lambda w: w.lent.store(w.lent.G * 0.9),
    "age": lambda w: mho.age(w.model, 10.0),
    "age on a chip": lambda w: mho.age(w.tenant, 10.0),
    "age a chip": lambda w: w.chip.age(10.0),
    "fabricate": lambda w: mho.fabricate(w.model, 9),
    "fabricate off a chip": lambda w: mho.fabricate(w.tenant, 9),
    "reset_parameters": lambda w: w.crossbar.reset_parameters(9),
    "reset_parameters off a chip": lambda w: w.lent.reset_parameters(9),
    "place": lambda w: w.chip.place(w.model, permute=None),
    "place permuted": lambda w: w.chip.place(w.model, permute="both"),
    "place on another chip": lambda w: w.other.place(w.tenant),
    "program by the chip": lambda w: w.chip.program(w.tenant),
    "remove": lambda w: w.chip.remove(w.tenant),
    "remove by name": lambda w: w.chip.remove("tenant"),
    "leave": lambda w: w.lent.leave(),
    "learn_ranges": lambda w: w.crossbar.learn_ranges(False),
    "load a crossbar": lambda w: w.crossbar.load_state_dict(
        {
            k.removeprefix("0.crossbar."): v
            for k, v in w.saved["model"].items()
            if k.startswith("0.crossbar.")
        }
    ),
    "load a chip": lambda w: w.chip.load_state_dict(w.saved["chip"]),
}
MAKERS = {
    "convert": lambda w: mho.convert(w.tenant, w.hardware),
    "collapse": lambda w: mho.collapse(w.tenant),
}


def interrupted_everywhere(world, action, interrupter, inputs=X, error=Interruption):
    """Interrupt an action at every step; return what it left behind, by step."""
    before, left = fingerprint(world.modules, inputs), {}
    number = 0
    while True:
        if not interrupter.interrupts(partial(action, world), number, error):
            return left, number
        changed = differences(before, fingerprint(world.modules, inputs))
        if changed:
            left[f"{number} {interrupter.where}"] = changed
            world = type(world)(world.hardware)
            before = fingerprint(world.modules, inputs)
        number += 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*ACTIONS, *MAKERS])
def test_all_or_nothing(monkeypatch, name):
    world = World(HARDWARE)
    action = {**ACTIONS, **MAKERS}[name]
    left, steps = interrupted_everywhere(world, action, Interrupter(monkeypatch))
    assert not left, "\n".join(f"{step}: {changed}" for step, changed in left.items())
    assert steps > 1


class Trained:
    """A model trained in place, its cells not yet in its crossbars."""

    hardware = None

    def __init__(self, _):
        self.model = network(5, 4, 3)
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.5)
        self.training = InSitu(optimizer, PULSED, layout=DifferentialPair(), model=self.model)
        self.modules = {"model": self.model}

    def cells(self):
        return [one.weights.cells.g.clone() for one in self.training.held.values()]


@pytest.mark.filterwarnings("ignore")
def test_cells_trained_in_place_are_as_they_were_when_deploying_is_interrupted(monkeypatch):
    hardware = mho.Hardware(device=PULSED)
    world = Trained(None)
    before = world.cells()
    left, steps = interrupted_everywhere(
        world, lambda w: w.training.deploy(w.model, hardware), Interrupter(monkeypatch)
    )
    assert all(map(torch.equal, world.cells(), before))
    assert not left, left
    assert steps > 4


@pytest.mark.filterwarnings("ignore")
def test_interrupted_programming_moves_no_cell(monkeypatch):
    class Pulses:
        hardware = None

        def __init__(self, _):
            self.model = mho.convert(network(3, 2), mho.Hardware(device=PULSED, effects=EFFECTS))
            self.modules = {"model": self.model}

    def action(world):
        crossbar = mho.crossbars(world.model)["0"]
        program_crossbar(crossbar, _weight(crossbar), WriteVerify(max_pulses=6, on_failure="warn"))

    left, steps = interrupted_everywhere(
        Pulses(None), action, Interrupter(monkeypatch), inputs=X[:, :3]
    )
    assert not left, left
    assert steps > 4


def _other_hardware(state):
    told = extra.plain(state["2.crossbar._extra_state"])
    told["hardware"]["adc"]["bits"] = 5
    state["2.crossbar._extra_state"] = extra.packed(told)


def _other_shape(state):
    state["2.crossbar.cells.g"] = state["2.crossbar.cells.g"][:, 1:]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("spoil", [_other_hardware, _other_shape])
@pytest.mark.parametrize("which", ["model", "tenant"])
def test_refused_checkpoints_change_nothing(which, spoil):
    world = World(HARDWARE)
    before = fingerprint(world.modules, X)
    spoil(world.saved[which])
    with pytest.raises(ValueError, match=r"2\.crossbar"):
        world.modules[which].load_state_dict(world.saved[which])
    assert not differences(before, fingerprint(world.modules, X))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("missing", ["cells.g", "_extra_state"])
def test_a_chip_s_incomplete_checkpoint_changes_nothing(missing):
    world = World(HARDWARE)
    before = fingerprint(world.modules, X)
    del world.saved["chip"][missing]
    with pytest.raises(RuntimeError, match=missing):
        world.chip.load_state_dict(world.saved["chip"])
    assert not differences(before, fingerprint(world.modules, X))


@pytest.mark.filterwarnings("ignore")
def test_reads_go_on_with_the_stream_that_is_saved_after_a_model_left_its_chip():
    world = World(HARDWARE)
    world.chip.remove(world.tenant)
    before = world.lent.cells.streams.clone()
    world.tenant.eval()(X)
    moved = world.lent.cells.streams
    assert (moved[2, 1] > before[2, 1]).all()
    twin = copy.deepcopy(world.tenant)
    assert torch.equal(twin(X), world.tenant(X))


def test_a_held_state_is_not_rewritten_by_loading():
    one, two = (mho.Crossbar(4, 3, mho.Hardware(), seed=s) for s in (0, 1))
    for number, crossbar in enumerate((one, two)):
        crossbar.program(torch.full((4, 3), 0.5 + number))
    held = one.G
    before = held.clone()
    one.load_state_dict(two.state_dict())
    assert torch.equal(held, before)
    assert torch.equal(one.G, two.G)
