"""Numbers of NumPy and torch are taken wherever Python's are, and kept as Python's."""

import dataclasses
import importlib
import json
import pkgutil

import numpy as np
import pytest
import torch

import mho
from mho.analysis import Part, components
from mho.core import checks
from mho.core.spec import Spec, _subclasses

for _module in pkgutil.walk_packages(mho.__path__, "mho."):
    if ".compat" not in _module.name and not _module.name.endswith("__main__"):
        importlib.import_module(_module.name)

TABLE = mho.devices.JumpTable((1e-6, 2e-6), (-1e-7, 1e-7), ((0.0, 1.0), (0.5, 1.0)))
NEEDED = {
    "AtNode": {"part": components.IsaacADC(), "node": 22e-9},
    "ChipArchitecture": {
        "parts": (
            Part("DAC", ("drivers",), None, each="row", use="drive"),
            Part("ADC", ("converters",), None, each="converter", use="conversion"),
        )
    },
    "Estimate": {"low": 1.0, "typical": 2.0, "high": 4.0},
    "LayerShape": {"name": "one", "rows": 3, "cols": 4},
    "Measured": {"levels": ((-1.0, 0.0, 1.0),)},
    "Part": {"name": "DAC", "roles": ("drivers",), "component": None},
    "AccessResistance": {"ohms": 100.0},
    "BlockFloat": {"word": 8},
    "CycleVariability": {"r_on": 1e3, "r_off": 1e4},
    "DropConnect": {"p": 0.5},
    "FailureLaw": {"p0": 1e5},
    "FiniteStates": {"states": 8},
    "FixedPoint": {"word": 8, "fraction": 4},
    "FloatFormat": {"exponent": 5, "mantissa": 2},
    "JumpTable": {"g": TABLE.g, "dg": TABLE.dg, "cdf": TABLE.cdf},
    "PowerLawDrift": {"nu": 0.25},
    "Pulses": {"start": 0.5, "step": 0.25, "stop": 1.5, "width": 1e-6},
    "Integers": {"low": 2, "high": 8},
    "Range": {"low": 0.5, "high": 2.0},
    "ReadDisturb": {"reads": 1e6},
    "ReadNoise": {"sigma": 0.5},
    "Region": {"row": 1, "col": 2, "height": 3, "width": 4},
    "Resistor": {"ohms": 1e3},
    "Spread": {"distribution": "Normal", "parameters": (("loc", 1.0), ("scale", 0.5)), "low": 0.0},
    "StuckCells": {"places": ((0, 1, 2),), "conductances": (1e-6,)},
    "TabularDevice": {"set_table": TABLE, "reset_table": TABLE},
    "TelegraphNoise": {"amplitude": 0.5},
    "Temperature": {"kelvin": 320.0},
    "Transistor": {"v_gate": 1.5},
    "VoltagePulses": {
        "device": mho.devices.VTEAM(),
        "set_voltage": 0.5,
        "set_width": 1e-9,
        "reset_voltage": 0.25,
        "reset_width": 1e-9,
    },
    "WriteNoise": {"sigma": 0.5},
    **{name: {"bits": 8} for name in ("Bounded", "Clipped", "Normalised", "Scaled", "Shifted")},
}
KINDS = sorted(
    {
        kind
        for kind in _subclasses(Spec)
        if dataclasses.is_dataclass(kind)
        and kind.__module__.startswith("mho.")
        and ".compat" not in kind.__module__
        and not kind.__name__.startswith("_")
    },
    key=lambda kind: (kind.__module__, kind.__name__),
)
EXAMPLES = [kind(**NEEDED.get(kind.__name__, {})) for kind in KINDS]
OTHERS = {
    "numpy": lambda value: np.asarray(value)[()],
    "array": np.asarray,
    "torch": lambda value: torch.tensor(
        value, dtype=torch.float64 if isinstance(value, float) else None
    ),
}
examples = pytest.mark.parametrize("spec", EXAMPLES, ids=[kind.__name__ for kind in KINDS])


def fields(spec, *kinds):
    """Names and values of the fields that hold values of these very types."""
    pairs = ((f.name, getattr(spec, f.name)) for f in dataclasses.fields(spec) if f.init)
    return {name: value for name, value in pairs if type(value) in kinds}


def alike(found, spec):
    """Whether a spec is another's equal in all that can be seen of it."""
    assert found == spec
    assert repr(found) == repr(spec)
    assert json.dumps(found.to_dict()) == json.dumps(spec.to_dict())
    try:
        return hash(found) == hash(spec)
    except TypeError:
        return True


@examples
@pytest.mark.parametrize("other", OTHERS)
def test_numbers_of_every_spec(spec, other):
    convert = OTHERS[other]
    numbers = fields(spec, int, float, bool)
    for name, value in numbers.items():
        assert alike(spec.replace(**{name: convert(value)}), spec), name
    assert alike(spec.replace(**{name: convert(value) for name, value in numbers.items()}), spec)


def converted(value, convert):
    if isinstance(value, tuple):
        return tuple(converted(item, convert) for item in value)
    return convert(value) if isinstance(value, (int, float)) else value


@examples
def test_numbers_in_tuples(spec):
    for name, value in fields(spec, tuple).items():
        for convert in OTHERS.values():
            assert alike(spec.replace(**{name: converted(value, convert)}), spec), name
        whole = np.asarray(value, dtype=object)
        if whole.size and all(isinstance(item, (int, float)) for item in whole.flat):
            assert alike(spec.replace(**{name: np.array(value)}), spec), name
            tensor = torch.tensor(value, dtype=torch.from_numpy(np.array(value)).dtype)
            assert alike(spec.replace(**{name: tensor}), spec), name


@examples
def test_truth_values_are_truth_values(spec):
    for name in fields(spec, bool):
        for wrong in ("false", 1, None, np.int64(1)):
            with pytest.raises(TypeError, match=rf"{name} must be bool"):
                spec.replace(**{name: wrong})


@examples
def test_an_array_of_one_number_is_no_number(spec):
    told = {f.name: str(f.type) for f in dataclasses.fields(spec)}
    for name, value in fields(spec, int, float).items():
        if "tuple" not in told[name]:
            with pytest.raises(TypeError, match=name):
                spec.replace(**{name: np.array([value])})


def test_a_gradient_is_not_lost_silently():
    with pytest.raises(TypeError, match="nu must be"):
        mho.effects.PowerLawDrift(nu=torch.tensor(0.05, requires_grad=True))


def test_specs_of_users_find_plain_numbers_when_they_check():
    seen = []

    @dataclasses.dataclass(frozen=True)
    class Mine(mho.devices.LinearDevice):
        gain: float = 1.0

        def __post_init__(self):
            super().__post_init__()
            seen.append(type(self.gain))

    assert type(Mine(g_max=np.float64(1e-4), gain=np.float32(2.0)).gain) is float
    assert seen == [float]


def test_specs_that_check_nothing_find_plain_numbers_too():
    @dataclasses.dataclass(frozen=True)
    class Unchecked(Spec):
        value: float = 1.0
        several: tuple[float, ...] = ()
        flag: bool = False

    found = Unchecked(np.float64(2.0), torch.arange(2), np.bool_(True))
    assert (type(found.value), found.several, found.flag) == (float, (0, 1), True)
    with pytest.raises(TypeError, match="Unchecked flag must be bool, got 'no'"):
        Unchecked(flag="no")
    with pytest.raises(TypeError, match="Unchecked value must be a number"):
        Unchecked(value=np.array([1.0]))


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (np.int8(3), int),
        (np.uint64(3), int),
        (np.float16(3), float),
        (np.longdouble(3), float),
        (torch.tensor(3), int),
        (torch.tensor(3.0), float),
        (torch.tensor(3.0, dtype=torch.bfloat16), float),
        (np.array(3), int),
    ],
)
def test_checks_return_pythons_numbers(given, kind):
    assert type(checks.number("n", given)) is kind
    assert checks.number("n", given, least=3, most=3) == 3
    if kind is int:
        assert type(checks.integer("n", given)) is int
    else:
        with pytest.raises(TypeError, match="n must be an integer"):
            checks.integer("n", given)


@pytest.mark.parametrize(
    "given",
    [np.bool_(True), torch.tensor(True), np.array([3]), torch.tensor([3]), np.str_("3"), 3j],
)
def test_what_is_no_number_stays_none(given):
    with pytest.raises(TypeError, match="n must be a number"):
        checks.number("n", given)
    with pytest.raises(TypeError, match="n must be an integer"):
        checks.integer("n", given)


@pytest.mark.parametrize("seed", [np.int64(7), torch.tensor(7), np.array(7)])
def test_seeds(seed):
    torch.manual_seed(0)
    digital, x = torch.nn.Linear(5, 3), torch.rand(4, 5)
    hardware = mho.Hardware(
        device=mho.devices.ExponentialDevice(3e-9, 38e-9, 2.4, -4.88, d2d=0.1, c2c=0.1)
    )
    a, b = (mho.convert(digital, hardware, seed=s).eval() for s in (7, seed))
    assert torch.equal(a(x), b(x))
    assert mho.core.random.derive(seed, "part") == mho.core.random.derive(7, "part")
    cells = [hardware.device.fabricate((np.int64(2), 3), seed=s).g for s in (7, seed)]
    assert torch.equal(*cells)


def test_sizes_and_counts_of_functions():
    hardware = mho.Hardware()
    crossbar = mho.Crossbar(np.int64(4), torch.tensor(3), hardware)
    assert (type(crossbar.rows), type(crossbar.cols)) == (int, int)
    layer = mho.nn.Linear(np.int32(4), np.int32(3), hardware=hardware)
    assert json.dumps([layer.in_features, layer.out_features]) == "[4, 3]"
    _time, volts = mho.devices.waveforms.pulse_train(
        np.float64(1.0), width=np.float32(0.5), period=torch.tensor(1.0), dt=0.25, count=np.int8(2)
    )
    assert volts.tolist() == [1.0, 1.0, 0.0, 0.0] * 2
    model = mho.convert(torch.nn.Linear(3, 3), hardware)
    found = mho.study.over_chips(model, lambda chip: 1.0, np.arange(3))
    assert found.tolist() == [1.0, 1.0, 1.0]


MADE = {
    "kernel": lambda v: mho.nn.Conv2d(2, 2, v(1), hardware=mho.Hardware()),
    "stride": lambda v: mho.nn.Conv2d(2, 2, 1, stride=v(2), hardware=mho.Hardware()),
    "pair": lambda v: mho.nn.Conv2d(2, 2, (v(1), v(2)), hardware=mho.Hardware()),
    "transposed": lambda v: mho.nn.ConvTranspose1d(v(2), 2, v(2), hardware=mho.Hardware()),
    "recurrent": lambda v: mho.nn.GRU(v(2), v(2), num_layers=v(1), hardware=mho.Hardware()),
    "attention": lambda v: mho.nn.MultiheadAttention(v(4), v(2), hardware=mho.Hardware()),
    "sine": lambda v: mho.devices.waveforms.sine(v(1.0), v(1.0), dt=v(0.25)),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("name", MADE)
def test_sizes_of_layers_and_waveforms(name, other):
    assert str(MADE[name](OTHERS[other])) == str(MADE[name](lambda value: value))


@pytest.mark.parametrize("stride", [np.nan, 10**400, "3", None, True, 0, 1.0])
def test_a_stride_that_is_none_is_refused_by_name(stride):
    with pytest.raises((TypeError, ValueError), match="stride must be"):
        mho.nn.Conv2d(2, 2, 1, stride=stride, hardware=mho.Hardware())
