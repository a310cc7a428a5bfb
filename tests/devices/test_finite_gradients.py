"""Gradients are finite in every differentiated path, where a root, a logarithm or a power is 0."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mho.cells.behaviour import Behaviour, Context
from mho.cells.device import Device
from mho.core import random
from mho.devices import (
    PCM,
    ExpStep,
    GenericStatistical,
    LinearDevice,
    LinearStep,
    PCMHermes,
    PiecewiseStep,
    PowStep,
    PulsedDevice,
    ReRAMCMO,
    ReRAMWan,
    SoftBoundsDevice,
    Spread,
    open_loop,
    presets,
)
from mho.effects import (
    CycleVariability,
    Endurance,
    FailureLaw,
    FiniteStates,
    PowerLawDrift,
    ReadNoise,
    Retention,
    StuckAt,
    TelegraphNoise,
    Temperature,
    WriteNoise,
)

DEVICES: dict[str, Device] = {
    **{preset.name: presets.get(preset.name) for preset in presets.list()},
    "generic": GenericStatistical(
        write_sigma=(0.0, 1e-6),
        write_bias=(-1e-7, 1e-7),
        nu=(0.05,),
        nu_std=(0.01,),
        read_sigma=(0.0, 1e-7),
        t_read=1e-6,
    ),
    "generic of zeros": GenericStatistical(),
    "power below one": PowStep(exponent_set=0.5, exponent_reset=0.5, c2c=0.1, step=5e-6),
    "exponential step": ExpStep(c2c=0.1, step=5e-6),
    "linear step": LinearStep(c2c=0.1, step=5e-6, d2d=0.1),
    "soft bounds": SoftBoundsDevice(c2c=0.1, step=5e-6),
    "piecewise": PiecewiseStep(step=5e-6),
    "spread": LinearDevice(
        g_min=Spread("Normal", (("loc", 1e-6), ("scale", 1e-7)), low=0.0), g_max=1e-4
    ),
    **{
        f"{type(device).__name__} of zeros": device.replace(
            write_scale=0.0, drift_scale=0.0, read_scale=0.0
        )
        for device in (PCM(), PCMHermes(), ReRAMWan(), ReRAMCMO())
    },
}
WINDOW = (1e-6, 1e-4)
SPREAD = Spread("LogNormal", (("loc", 5.0), ("scale", 1.0)))
EFFECTS: dict[str, Behaviour] = {
    "write noise": WriteNoise(0.05),
    "write noise of the value": WriteNoise(0.05, relative_to="value"),
    "no write noise": WriteNoise(0.0),
    "states": FiniteStates(8),
    "cycles": CycleVariability(Spread("Normal", (("loc", 1e4), ("scale", 100.0))), 1e6),
    "endurance": Endurance(
        lrs=FailureLaw(10.0, p2=1.0, p3=0.5), hrs=FailureLaw(SPREAD), cycles=1e5
    ),
    "endurance of no cycles": Endurance(lrs=FailureLaw(10.0, p3=0.5)),
    "drift": PowerLawDrift(0.05, 0.01),
    "no drift": PowerLawDrift(0.0),
    "retention": Retention(lrs=FailureLaw(SPREAD, p2=1.0, p3=0.5), hrs=FailureLaw(1e3, stable=1e4)),
    "read noise": ReadNoise(0.05),
    "read noise of the value": ReadNoise(0.05, relative_to="value"),
    "telegraph": TelegraphNoise(0.1, fraction=0.5),
    "temperature": Temperature(350.0, coefficient=1e-3, activation_energy=0.05),
    "stuck": StuckAt(0.1, 0.1),
}


def points(low: float, high: float, dtype: torch.dtype) -> torch.Tensor:
    """Zero, the window's ends, and places between and beyond; each both alone and crowded."""
    ends = [0.0, 1e-30, 1e-12, 0.5 * low, low, 0.5 * (low + high), high, 1.5 * high]
    return torch.tensor(ends, dtype=dtype).requires_grad_()


def context(behaviour: Behaviour, g: torch.Tensor, window: tuple[float, float], seconds: float):
    made = Context(g.detach(), *window, random.stream(1), seconds=seconds)
    made.state = behaviour.fabricate_state(made)
    return made


def check(name: str, function, g: torch.Tensor) -> None:
    result = function(g)
    if not isinstance(result, torch.Tensor) or not result.requires_grad:
        return
    assert bool(result.isfinite().all()), f"{name}: {result}"
    (grad,) = torch.autograd.grad(result.sum(), g)
    assert bool(grad.isfinite().all()), f"{name}: gradient {grad}"


def all_stages(behaviour: Behaviour, window: tuple[float, float], dtype, seconds: float) -> None:
    g = points(*window, dtype)
    now = context(behaviour, g, window, seconds)
    for stage in ("program", "write_std", "read", "read_std"):
        if behaviour.acts_on(stage):
            check(stage, lambda g, stage=stage: getattr(behaviour, stage)(g, now), g)
    if behaviour.acts_on("age"):
        for start, stop in ((0.0, seconds), (seconds, seconds), (seconds, 10.0 * seconds + 1.0)):
            check("age", lambda g, a=start, b=stop: behaviour.age(g, now, a, b), g)


times = st.one_of(st.just(0.0), st.floats(1e-9, 1e9))
kinds = st.sampled_from((torch.float32, torch.float64))


@pytest.mark.parametrize("name", DEVICES)
@settings(max_examples=8, deadline=None)
@given(seconds=times, dtype=kinds)
def test_devices(name: str, seconds: float, dtype: torch.dtype) -> None:
    device = DEVICES[name]
    all_stages(device, device.window, dtype, seconds)
    g = points(*device.window, dtype)
    drawn = context(device, g, device.window, seconds).state
    check("reach", lambda g: device.reach(g, drawn), g)
    if device.separable:
        v = torch.tensor([0.0, 1e-30, 1e-3, 0.2, -0.2, 1.0], dtype=dtype).requires_grad_()
        check("transfer", device.transfer, v)


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_currents(name: str, dtype: torch.dtype) -> None:
    device = DEVICES[name]
    low, high = device.window
    for volts in (0.0, 1e-3, 0.2, -0.2, 1.0):
        g = torch.linspace(low, high, 5, dtype=dtype).requires_grad_()
        v = torch.full((5,), volts, dtype=dtype, requires_grad=True)
        current = device.current_of(v, g)
        grads = torch.autograd.grad(current.sum(), (v, g), allow_unused=True)
        assert bool(current.isfinite().all())
        for grad in grads:
            assert grad is None or bool(grad.isfinite().all()), (volts, grads)


@pytest.mark.parametrize("name", [n for n, d in DEVICES.items() if isinstance(d, PulsedDevice)])
def test_open_loop_programming(name: str) -> None:
    device = DEVICES[name]
    assert isinstance(device, PulsedDevice)
    g = points(*device.window, torch.float64)
    drawn = context(device, g, device.window, 0.0).state
    check("programmed", lambda g: open_loop.programmed(device, g, drawn), g)


@pytest.mark.parametrize("name", EFFECTS)
@settings(max_examples=8, deadline=None)
@given(seconds=times, dtype=kinds, low=st.sampled_from((0.0, 1e-6)))
def test_effects(name: str, seconds: float, dtype: torch.dtype, low: float) -> None:
    all_stages(EFFECTS[name], (low, WINDOW[1]), dtype, seconds)
