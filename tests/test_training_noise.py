"""Noise of training is drawn as dropout draws: what PyTorch promises of randomness holds."""

import copy
import threading

import pytest
import torch
from torch import nn
from torch.distributions import Normal
from torch.func import functional_call, grad, vmap
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.checkpoint import checkpoint

import mho
from mho import ADC, DAC, Array, Hardware
from mho.circuit import Wires
from mho.core import random
from mho.devices import PCM, ExponentialDevice, LinearDevice, Spread
from mho.effects import PowerLawDrift, ReadNoise, StuckAt, TelegraphNoise, WriteNoise
from mho.train import NoiseInjection

PULSED = ExponentialDevice(g_min=1e-6, g_max=1e-4, levels=40, c2c=0.02, d2d=0.1)
WIRES = Wires(5.0, 5.0, 5.0, 5.0)
HARDWARE = {
    "write noise": Hardware(effects=(WriteNoise(0.05),)),
    "stuck cells": Hardware(effects=(StuckAt(0.05, 0.05), WriteNoise(0.05))),
    "spread cells": Hardware(device=LinearDevice(g_max=Spread(Normal(1e-4, 5e-6), low=5e-5))),
    "pulses": Hardware(device=PULSED),
    "read noise": Hardware(dac=DAC(6), adc=ADC(6), effects=(ReadNoise(0.05),)),
    "telegraph noise": Hardware(effects=(TelegraphNoise(0.2),)),
    "wires": Hardware(array=Array(8, 8, wires=WIRES), effects=(WriteNoise(0.05),)),
    "wires solved now and then": Hardware(
        array=Array(8, 8, wires=WIRES, solve_every=3), effects=(WriteNoise(0.05), ReadNoise(0.02))
    ),
    "pcm": Hardware(device=PCM()),
}
PRACTICE = {
    "as it is": NoiseInjection(),
    "aged": NoiseInjection(effects=(PowerLawDrift(0.05, 0.02),), ages=(1e2, 1e4)),
    "own cells": NoiseInjection(own_cells=True, noise=2.0),
}
X = torch.linspace(-1.0, 1.0, 192).view(16, 12).sin()


def model(hardware, injection=None, digital=None):
    if digital is None:
        torch.manual_seed(0)
        digital = nn.Sequential(nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 2))
    analog = mho.convert(digital, hardware, seed=0).train()
    for bar in mho.crossbars(analog).values():
        bar.inject_noise(injection or NoiseInjection())
    return analog


def steps(analog, forward=None, between=None, count=4):
    """A short training run: the gradients of every step."""
    optimizer = torch.optim.SGD(analog.parameters(), lr=0.1)
    x, found = X.clone().requires_grad_(True), []
    torch.manual_seed(5)
    for _ in range(count):
        optimizer.zero_grad()
        y = analog(x) if forward is None else forward(analog, x)
        y.square().mean().backward()
        found.append(torch.cat([p.grad.flatten() for p in analog.parameters()]))
        optimizer.step()
        if between is not None:
            between(analog)
    return found


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# ── gradient checkpointing ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("practice", list(PRACTICE))
@pytest.mark.parametrize("name", list(HARDWARE))
def test_checkpointing_gives_the_same_gradients(name, practice):
    made = lambda: model(HARDWARE[name], PRACTICE[practice])  # noqa: E731
    plain = steps(made())
    assert not torch.equal(plain[0], plain[1])
    for reentrant in (False, True):
        again = steps(made(), lambda m, x, r=reentrant: checkpoint(m, x, use_reentrant=r))
        assert equal(plain, again)


@pytest.mark.parametrize("way", ["weight norm", "lstm", "conv", "twice"])
def test_checkpointing_of_other_layers_with_wires(way):
    hardware = HARDWARE["wires solved now and then"]

    def made():
        torch.manual_seed(0)
        if way == "lstm":
            return model(hardware, digital=nn.LSTM(12, 5, batch_first=True))
        if way == "conv":
            return model(hardware, digital=nn.Conv1d(4, 6, 3))
        if way == "weight norm":
            return model(hardware, digital=weight_norm(nn.Linear(12, 10)))
        return model(hardware, digital=nn.Linear(12, 12))

    def read(m, x):
        if way == "lstm":
            return m(x.unsqueeze(1))[0]
        if way == "conv":
            return m(x.view(16, 4, 3))
        return m(m(x)) if way == "twice" else m(x)

    plain = steps(made(), read)
    again = steps(made(), lambda m, x: checkpoint(read, m, x, use_reentrant=False))
    assert equal(plain, again)


def test_wires_are_solved_anew_as_often_as_said():
    bar = model(HARDWARE["wires solved now and then"], digital=nn.Linear(12, 10)).crossbar
    solved, wires = [], bar._wires
    weight = nn.Parameter(torch.randn(12, 10))
    for _ in range(7):
        for _ in range(3):  # reads of one step agree
            before = wires._attenuation
            bar.read_through(X, weight)
            solved.append(wires._attenuation is not before)
        with torch.no_grad():
            weight.add_(0.01)
    assert solved == [s for step in (1, 0, 0, 1, 0, 0, 1) for s in [bool(step)] * 3]


# ── torch.func ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("practice", list(PRACTICE))
@pytest.mark.parametrize("name", list(HARDWARE))
def test_functional_gradients_are_those_of_backward(name, practice):
    analog = model(HARDWARE[name], PRACTICE[practice])
    parameters = dict(analog.named_parameters())
    torch.manual_seed(1)
    found = grad(lambda p: functional_call(analog, p, (X,)).square().mean())(parameters)
    torch.manual_seed(1)
    analog(X).square().mean().backward()
    for key, parameter in parameters.items():
        torch.testing.assert_close(found[key], parameter.grad)
    # Nothing of the transform stays behind.
    copy.deepcopy(analog)
    analog(X).sum().backward()


@pytest.mark.parametrize("name", ["write noise", "read noise", "telegraph noise", "pcm"])
def test_vmap_over_chips_draws_for_each(name):
    analog = model(HARDWARE[name])
    chips = 400
    stack = {k: p.detach().expand(chips, *p.shape) for k, p in analog.named_parameters()}
    call = lambda p: functional_call(analog, p, (X,))  # noqa: E731
    torch.manual_seed(2)
    found = vmap(call, randomness="different")(stack).detach()
    assert len({tuple(y.flatten().tolist()) for y in found}) == chips
    with torch.no_grad():
        one_by_one = torch.stack([analog(X) for _ in range(chips)])
    error = (one_by_one.var(0) / chips).sqrt()
    z = (found.mean(0) - one_by_one.mean(0)) / (error * 2**0.5)
    assert float(z.abs().max()) < 5.0
    ratio = found.var(0).mean() / one_by_one.var(0).mean()
    assert abs(float(ratio) - 1.0) < 0.2
    grads = vmap(grad(lambda p: call(p).square().mean()), randomness="different")(stack)
    assert all(g.isfinite().all() for g in grads.values())


# ── what happens between two steps ───────────────────────────────────────────────────────────


def validate(analog):
    analog.eval()
    with torch.no_grad():
        analog(X)
    analog.train()


def calibrate(analog):
    mho.calibrate(analog, X)


BETWEEN = {"eval reads": validate, "program": mho.program, "age": lambda m: mho.age(m, 10.0)}


@pytest.mark.parametrize("what", list(BETWEEN))
@pytest.mark.parametrize("name", list(HARDWARE))
def test_validation_changes_nothing_of_the_training(name, what):
    hardware = HARDWARE[name]
    assert equal(steps(model(hardware)), steps(model(hardware), between=BETWEEN[what]))


def test_calibration_changes_nothing_but_ranges():
    for name in ("write noise", "telegraph noise", "stuck cells"):
        hardware = HARDWARE[name]
        assert equal(steps(model(hardware)), steps(model(hardware), between=calibrate))
    torch.manual_seed(3)
    state = torch.get_rng_state()
    mho.calibrate(model(HARDWARE["read noise"]).eval(), X)
    torch.manual_seed(3)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", list(HARDWARE))
def test_the_seed_reproduces_and_the_state_resumes(name):
    hardware = HARDWARE[name]
    whole = steps(model(hardware), count=6)
    assert equal(whole, steps(model(hardware), count=6))
    analog = model(hardware)
    optimizer = torch.optim.SGD(analog.parameters(), lr=0.1)
    torch.manual_seed(5)
    found = []
    for step in range(6):
        if step == 3:
            saved = analog.state_dict(), torch.get_rng_state()
            torch.manual_seed(99)
            analog = model(hardware)
            analog.load_state_dict(saved[0])
            optimizer = torch.optim.SGD(analog.parameters(), lr=0.1)
            torch.set_rng_state(saved[1])
        optimizer.zero_grad()
        analog(X).square().mean().backward()
        found.append(torch.cat([p.grad.flatten() for p in analog.parameters()]))
        optimizer.step()
    if hardware.array.solve_every == 1:
        assert equal(whole, found)
    else:  # what wires were last solved for is not saved: a resumed run solves them anew
        assert equal(whole[:3], found[:3])
        for one, other in zip(whole, found, strict=True):
            torch.testing.assert_close(one, other, rtol=0.0, atol=0.02 * float(one.abs().max()))


# ── reads of a chip ──────────────────────────────────────────────────────────────────────────


def test_threads_that_read_one_model_share_no_noise():
    analog = model(HARDWARE["read noise"]).eval()
    stream = analog[0].crossbar.cells.streams[-1]
    start, reads, found = int(stream[1]), 50, [[], []]
    barrier = threading.Barrier(2)

    def work(mine):
        barrier.wait()
        with torch.no_grad():
            mine += [tuple(analog(X).flatten().tolist()) for _ in range(reads)]

    threads = [threading.Thread(target=work, args=(mine,)) for mine in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found[0] + found[1])) == 2 * reads
    assert int(stream[1]) == start + 2 * reads  # every number of the stream was used once


def test_no_number_of_a_stream_is_taken_twice():
    stream, seeds = random.stream(0), [[] for _ in range(4)]

    def work(mine):
        mine += [random.take(stream, "cpu").initial_seed() for _ in range(500)]

    threads = [threading.Thread(target=work, args=(mine,)) for mine in seeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({seed for mine in seeds for seed in mine}) == 2000


@pytest.mark.parametrize("name", list(HARDWARE))
def test_a_seed_is_one_chip_wherever_it_is_moved(name):
    """Fabrication, programming and aging draw the same, before and after a move to float64."""
    hardware = HARDWARE[name].replace(effects=(*HARDWARE[name].effects, PowerLawDrift(0.05, 0.02)))
    here, there = (mho.convert(nn.Linear(12, 10), hardware, seed=4) for _ in range(2))
    there.load_state_dict(here.state_dict())
    there.double()
    for index in range(len(hardware.behaviours)):
        for key, value in here.crossbar.cells.state(index).items():
            moved = there.crossbar.cells.state(index)[key]
            assert torch.equal(moved.to(value), value)
    for one in (here, there):
        mho.age(one, 1e4)
    torch.testing.assert_close(there.crossbar.G.float(), here.crossbar.G, rtol=1e-5, atol=1e-12)
    there.float()
    for one in (here, there):
        mho.program(one)
    if hardware.device is not PULSED:  # rounded targets may differ by a pulse
        torch.testing.assert_close(there.crossbar.G, here.crossbar.G, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize(
    "effects", [(TelegraphNoise(0.2),), (ReadNoise(0.05),), (TelegraphNoise(0.2, fraction=0.3),)]
)
def test_noisy_models_can_be_exported(effects):
    analog = mho.convert(nn.Linear(12, 10), Hardware(effects=effects), seed=0).eval()
    twin = copy.deepcopy(analog)
    exported = torch.export.export(analog, (X,)).module()
    first, second = exported(X), exported(X)
    assert not torch.equal(first, second)
    with torch.no_grad():
        torch.testing.assert_close(first, twin(X))  # the very numbers of eager code
        torch.testing.assert_close(second, twin(X))


@pytest.mark.parametrize("kind", ["range", "value"])
def test_a_noise_of_nothing_is_none(kind):
    hardware = Hardware(effects=(WriteNoise(0.05, kind),))
    model, x = mho.convert(nn.Linear(6, 4), hardware).train(), torch.randn(3, 6)
    for factor, same in ((0.0, True), (1.0, False)):
        model.crossbar.inject_noise(NoiseInjection(noise=factor))
        assert torch.equal(model(x), model(x)) is same
