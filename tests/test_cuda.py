"""What holds on the host holds on a GPU: the same chips, the same reads, nothing waits.

What is fabricated, written by statistics and aged is drawn on the host by a seed: it is the same
chip everywhere. Reads, and what is programmed pulse by pulse, draw where the cells are.
"""

import copy
import io
import pickle
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import invariants
import menu
import mho
import test_covering as covering
import test_no_synchronisation as waiting
from mho.circuit import (
    Wires,
    effective_conductance,
    solve,
    solve_gated,
    solve_nonlinear,
)
from mho.devices import (
    JARTVCM,
    MTJ,
    VTEAM,
    SoftBoundsDevice,
    StanfordPKU,
    Yakopcic,
    presets,
)
from mho.train import (
    AGAD,
    Chopped,
    ExpectedPulses,
    InSitu,
    LowRankTikiTaka,
    MixedPrecision,
    MultiTileResidual,
    NoiseInjection,
    PulsedSGD,
    ResidualLearning,
    SymmetryTracking,
    TikiTaka,
    TikiTakaV1,
    TikiTakaV2,
    TileSGD,
    fit,
    recipes,
)

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
    pytest.mark.filterwarnings("ignore"),
]
CUDA = "cuda"
SEED = covering.SEED


def same(found, expected, rtol=1e-4):
    """Compare what a GPU found with what the host did."""
    for one, two in zip(found, expected, strict=True):
        wrong = invariants.apart(one.detach().cpu(), two.detach(), rtol)
        assert not wrong, wrong


def conductances(model):
    return [crossbar.G for crossbar in mho.crossbars(model).values()]


@contextmanager
def nothing_waits():
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


# ── the same chip ────────────────────────────────────────────────────────────────────────────


def alike(case):
    """Let a model live on the host and on the GPU; say where they differ."""
    case, hardware, _ = covering.accepted(case)
    x, wrong = menu.given(case["layer"]), {}
    host = menu.built(case["layer"], hardware, seed=3)
    lives = {"moved": copy.deepcopy(host).to(CUDA)}
    if case["layer"] != "bare":
        torch.manual_seed(5)
        net = menu.LAYERS[case["layer"]][0]().to(CUDA)
        lives["made there"] = mho.convert(net, hardware, seed=3).eval()
    host = lived(host, case, x)
    x = x.to(conductances(host)[0].dtype)
    seen = invariants.read(host, x)
    # What was pulsed, or trained, may differ by single pulses.
    exact = not pulsed(hardware) and case["action"] not in ("train", "learn")
    for name, there in lives.items():
        there = lived(there, case, menu.given(case["layer"]).to(CUDA))
        found = invariants.read(there, x.to(CUDA))
        if found.device.type != CUDA or not bool(found.isfinite().all()):
            wrong[f"{name}: outputs"] = str(found)
        if not exact:
            continue
        pairs = zip(conductances(there), conductances(host), strict=True)
        apart = [invariants.apart(a.cpu(), b, 1e-4) for a, b in pairs]
        if any(apart):
            wrong[f"{name}: conductances"] = apart
        elif not invariants.noisy(hardware):
            few = invariants._but_few(found.cpu(), seen, hardware)
            wrong |= {f"{name}: reads": few} if few else {}
    return wrong


def pulsed(hardware):
    """Whether cells are programmed pulse by pulse."""
    programming = hardware.programming or hardware.device.programming
    return not isinstance(programming, mho.programming.Exact | mho.programming.Statistical)


def lived(model, case, x):
    """Let what a case says happen to a model."""
    made = menu.ACTIONS[case["action"]](model, x)
    return (made if isinstance(made, nn.Module) else model).eval()


CASES = [*waiting.CASES, *waiting.SLOW]
CASES += [{**waiting.CONVERTED, "effects": "drift", "action": a} for a in menu.ACTIONS]
CASES += [{**waiting.BASE, "programming": p} for p in menu.PROGRAMMING]
CASES += [{**waiting.BASE, "device": "step", "programming": p} for p in menu.PROGRAMMING]


@pytest.mark.parametrize("case", CASES, ids=lambda case: waiting.name_of(case))
def test_one_seed_one_chip_there_too(case):
    assert not alike(case)


@pytest.mark.parametrize("shard", range(16))
def test_what_meets_is_the_same_chip(shard):
    wrong = []
    for case in covering.cases()[shard::16]:
        try:
            found = alike(case)
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        wrong += [f"{case}: {found}"] if found else []
    assert not wrong, f"MHO_COVERING_SEED={SEED}\n" + "\n".join(wrong)


def test_checkpoints_and_pickles_travel():
    hardware = menu.hardware_of({**waiting.CONVERTED, "effects": "drift"})
    host = menu.built("two", hardware, seed=3)
    mho.calibrate(host, menu.given("two"))
    there = copy.deepcopy(host).to(CUDA)
    mho.age(there, 3600.0)
    file = io.BytesIO()
    torch.save(there.state_dict(), file)
    file.seek(0)
    back = menu.built("two", hardware, seed=4)
    back.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    mho.age(host, 3600.0)
    same(conductances(back), conductances(host))
    again = menu.built("two", hardware, seed=4).to(CUDA)
    again.load_state_dict(host.state_dict())
    same(conductances(again), conductances(host))
    twin = pickle.loads(pickle.dumps(there))
    assert conductances(twin)[0].device.type == CUDA
    x = menu.given("two").to(CUDA)
    assert torch.equal(twin(x), copy.deepcopy(there)(x))


@pytest.mark.parametrize("shard", range(16))
def test_invariants_hold_there(shard):
    wrong = []
    for case in covering.cases()[shard::48]:
        case, hardware, _ = covering.accepted(case)
        model, x = menu.built(case["layer"], hardware, 1).to(CUDA), menu.given(case["layer"])
        for name in ("finite", "copied", "aging composes", "compensated at once", "counted"):
            try:
                found = invariants.AFTER[name](model, x.to(CUDA), hardware)
            except Exception as error:
                found = f"{type(error).__name__}: {error}"
            wrong += [f"{case}\n {name}: {found}"] if found else []
    assert not wrong, f"MHO_COVERING_SEED={SEED}\n" + "\n".join(wrong)


# ── nothing waits ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("case", waiting.CASES, ids=waiting.name_of)
def test_neither_a_read_nor_a_step_waits(case):
    model, x = waiting.ready(case)
    there, x = model.to(CUDA), x.to(CUDA)
    trains = waiting.WAITING.isdisjoint(case.items())
    for mode in (False, True) if trains else (False,):
        there.train(mode)
        for _ in range(2):
            waiting.step(there, x)
        with nothing_waits():
            waiting.step(there, x)


def test_a_read_is_captured_as_a_graph():
    hardware = menu.hardware_of({**waiting.CONVERTED, "effects": "reading"})
    model, x = menu.built("two", hardware, seed=3).to(CUDA), menu.given("two").to(CUDA)
    mho.calibrate(model, x)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), torch.no_grad():
        for _ in range(3):
            model(x)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        y = model(x)
    found = []
    for _ in range(3):
        graph.replay()
        found.append(y.clone())
    assert not torch.equal(found[0], found[1])  # every replay draws
    assert not torch.equal(found[1], found[2])


def test_noise_there_is_as_strong_as_here():
    hardware = menu.hardware_of({**waiting.BASE, "effects": "reading"})
    here, x = menu.built("linear", hardware, seed=3), menu.given("linear")
    there = copy.deepcopy(here).to(CUDA)
    with torch.no_grad():
        one = torch.stack([here(x) for _ in range(2000)])
        two = torch.stack([there(x.to(CUDA)) for _ in range(2000)]).cpu()
    assert not invariants._same_distribution(one.double(), two.double())


# ── training ─────────────────────────────────────────────────────────────────────────────────

SOFT = SoftBoundsDevice(g_min=1e-6, g_max=101e-6, step=5e-7, d2d=0.1, c2c=0.1)


def transfer(rule):
    return lambda model: TikiTaka(model, 0.1, device=SOFT, rule=rule, seed=1)


def tiles(rule):
    return lambda model: TileSGD(model, 0.1, device=SOFT, rule=rule, seed=1)


RULES = {
    "pulsed": lambda model: PulsedSGD(model, 0.1, device=SOFT, seed=1),
    "expected": lambda model: PulsedSGD(model, 0.1, device=SOFT, update=ExpectedPulses(), seed=1),
    "in situ": lambda model: InSitu(
        torch.optim.SGD(model.parameters(), lr=0.1), SOFT, model=model, seed=1
    ),
    "in situ adam": lambda model: InSitu(
        torch.optim.Adam(model.parameters(), lr=0.01), SOFT, model=model, seed=1
    ),
    "v1": transfer(TikiTakaV1()),
    "v2": transfer(TikiTakaV2()),
    "chopped": transfer(Chopped()),
    "agad": transfer(AGAD()),
    "residual": tiles(ResidualLearning()),
    "multi-tile": tiles(MultiTileResidual()),
    "symmetry": tiles(SymmetryTracking()),
    "low rank": tiles(LowRankTikiTaka(rank=3)),
    "mixed": tiles(MixedPrecision()),
}
MODELS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4)), (8,)),
    "conv": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 4)
        ),
        (1, 4, 4),
    ),
    "lstm": (lambda: menu.Last(), (2, 4)),
    "attention": (menu.Attention, (3, 4)),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", MODELS)
def test_rules_learn_there(rule, kind):
    make, shape = MODELS[kind]
    torch.manual_seed(0)
    model = make().to(CUDA)
    optimizer = RULES[rule](model)
    x = torch.randn(32, *shape, device=CUDA)
    wanted = 0.3 * torch.tanh(model(x).detach() + 0.3 * torch.randn_like(model(x)))
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), wanted)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    losses = torch.stack(losses)
    assert bool(torch.isfinite(losses).all())
    assert all(p.device.type == CUDA for p in model.parameters())
    if rule in ("pulsed", "expected", "in situ", "in situ adam", "mixed"):
        assert float(losses[-5:].mean()) < float(losses[:3].mean())
    state = copy.deepcopy(optimizer.state_dict())
    torch.manual_seed(0)
    twin = make().to(CUDA)
    other = RULES[rule](twin)
    twin.load_state_dict(model.state_dict())
    other.load_state_dict(state)
    for net, steps in ((model, optimizer), (twin, other)):
        steps.zero_grad()
        F.mse_loss(net(x), wanted).backward()
        steps.step()
    for one, two in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("rule", ["pulsed", "in situ", "chopped", "multi-tile"])
def test_steps_of_rules_on_host_and_there(rule):
    """From the same weights, with the mean of the pulses: nearly the same weights."""
    make, shape = MODELS["mlp"]
    found = []
    for where in ("cpu", CUDA):
        torch.manual_seed(0)
        model = make().to(where)
        optimizer = RULES[rule](model)
        x = torch.randn(16, *shape, generator=torch.Generator().manual_seed(2)).to(where)
        before = [p.detach().clone().cpu() for p in model.parameters()]
        F.mse_loss(model(x), torch.ones(16, 4, device=where)).backward()
        optimizer.step()
        found.append(before)
        found.append([p.detach().clone().cpu() for p in model.parameters()])
    same(found[2], found[0], 1e-5)  # what was written before the first step


def test_fit_and_recipes():
    x, y = torch.randn(64, 8, device=CUDA), torch.randint(4, (64,), device=CUDA)
    for wanted in ("plain", "analog_foundation_model", "rasch_2023", "analognets"):
        model = MODELS["mlp"][0]().to(CUDA)
        if wanted == "plain":
            model = mho.convert(model, mho.Hardware(effects=menu.EFFECTS["writing"]), seed=0)
        else:
            recipe = recipes.named(wanted)
            model = recipe.prepare(model, recipe.hardware(mho.Hardware()), x)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        history = fit(model, optimizer, (x, y), F.cross_entropy, epochs=3, batch=16, seed=0)
        assert torch.isfinite(torch.as_tensor(history.loss)).all()


def test_practice_there():
    practice = NoiseInjection(effects=menu.EFFECTS["stuck"], ages=(1.0, 1e6), noise=2.0)
    for own in (False, True):
        model = menu.built("two", mho.Hardware(effects=menu.EFFECTS["drift"]), seed=3).to(CUDA)
        for crossbar in mho.crossbars(model).values():
            crossbar.inject_noise(practice.replace(own_cells=own))
        waiting.step(model.train(), menu.given("two").to(CUDA))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_there(dtype):
    torch.manual_seed(0)
    net = menu.LAYERS["two"][0]().to(CUDA, dtype)
    x = menu.given("two").to(CUDA, dtype)
    hardware = menu.hardware_of({**waiting.CONVERTED, "effects": "reading"})
    for settings in ({}, {"cells_dtype": torch.float16}, {"program": False}):
        model = mho.convert(net, hardware, seed=0, **settings)
        if "program" not in settings:
            mho.calibrate(model, x)
            assert model.eval()(x).dtype == dtype
        waiting.step(model.train(), x)
        full = mho.convert(net.float(), hardware, seed=0)
        net.to(dtype)
        with torch.autocast(CUDA, dtype):
            waiting.step(full.train(), x.float())


def test_compiled_there():
    hardware = menu.hardware_of({**waiting.CONVERTED, "effects": "none"})
    model, x = menu.built("two", hardware, seed=3).to(CUDA), menu.given("two").to(CUDA)
    mho.calibrate(model, x)
    compiled = torch.compile(model, fullgraph=True)
    with torch.no_grad():
        same([compiled(x)], [model(x).cpu()])


# ── circuits, devices, analysis ──────────────────────────────────────────────────────────────


def test_circuits_there():
    generator = torch.Generator().manual_seed(0)
    G = 1e-5 + 9e-5 * torch.rand(3, 12, 9, generator=generator, dtype=torch.float64)
    v = torch.randn(3, 4, 12, generator=generator, dtype=torch.float64)
    wires = Wires(3.0, 4.0, 5.0, 6.0)
    for method in ("merge", "cg"):
        found = effective_conductance(G.to(CUDA), wires, method=method)
        same([found], [effective_conductance(G, wires, method=method)], 1e-9)
        found, expected = solve(G.to(CUDA), wires, v.to(CUDA)), solve(G, wires, v)
        same(
            [found.currents, found.cell_voltages], [expected.currents, expected.cell_voltages], 1e-9
        )
    gated = Wires(3.0, 4.0, 5.0, 6.0, gated=True)
    gates = (torch.rand(3, 12, generator=generator) > 0.5).double()
    found = solve_gated(G.to(CUDA), gated, gates.to(CUDA), 0.3)
    same([found.currents], [solve_gated(G, gated, gates, 0.3).currents], 1e-9)
    law = lambda cell, volts: cell * torch.sinh(3.0 * volts) / 3.0  # noqa: E731
    found, expected = (
        solve_nonlinear(partial(law, g), (3, 12, 9), wires, volts)
        for g, volts in ((G.to(CUDA), 0.3 * v[:, 0].to(CUDA)), (G, 0.3 * v[:, 0]))
    )
    same([found.currents], [expected.currents], 1e-6)


@pytest.mark.parametrize("name", list(menu.DEVICES))
def test_populations_there(name):
    device, lives = menu.DEVICES[name], []
    low, high = device.window
    goal = low + (high - low) * torch.rand(
        6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    for where in ("cpu", CUDA):
        cells = device.fabricate((6, 5), seed=1, dtype=torch.float64, device=where)
        cells.program(goal.to(where))
        cells.age(3600.0)
        cells.read()
        fork = cells.fork()
        fork.age(10.0)
        assert bool(cells.g.isfinite().all())
        lives.append(cells.g)
    if not pulsed(mho.Hardware(device=device)):
        same(lives[1:], lives[:1], 1e-6)


@pytest.mark.parametrize(
    "device", [VTEAM(), Yakopcic(), StanfordPKU(), JARTVCM(), MTJ()], ids=lambda d: type(d).__name__
)
def test_voltages_there(device):
    v = 0.8 * torch.sin(torch.linspace(0, 6.28, 50, dtype=torch.float64))
    lives = []
    for where in ("cpu", CUDA):
        cells = device.fabricate((3, 2), seed=1, dtype=torch.float64, device=where)
        cells.apply_pulse(0.7, 1e-8)
        seen = [cells.simulate(v.to(where), dt=2e-8)] if hasattr(cells, "simulate") else []
        lives.append([cells.g, cells.current(0.1), *seen])
    assert all(bool(one.isfinite().all()) for one in lives[1])
    if not getattr(device, "stochastic", True):
        same(lives[1], lives[0], 1e-6)


@pytest.mark.parametrize("name", [preset.name for preset in presets.list()])
def test_presets_there(name):
    cells = presets.get(name).fabricate((4, 3), seed=1, device=CUDA)
    low, high = cells.spec.window
    cells.program(torch.full((4, 3), (low + high) / 2, device=CUDA))
    if hasattr(cells, "pulse"):
        cells.pulse(torch.randint(-3, 4, (4, 3), device=CUDA))
        cells.pulse_both(*torch.randint(0, 4, (2, 4, 3), device=CUDA))
        assert cells.respond(5).device.type == CUDA
    cells.age(100.0)
    assert cells.read().device.type == CUDA


def test_analysis_there():
    hardware = menu.hardware_of({**waiting.CONVERTED, "effects": "drift"})
    model, x = menu.built("two", hardware, seed=3).to(CUDA), menu.given("two").to(CUDA)
    mho.calibrate(model, x)
    assert mho.summary(model, x)
    assert mho.estimate(model, hardware, x)
    assert mho.analysis.layers(model, x)
    assert mho.analysis.cost(model, x)
    mho.compensate(model)
    mho.collapse(model)(x)
    mho.noise_free(model)(x)


def test_decompositions_there():
    x = torch.randn(16, 8, device=CUDA)
    delta = torch.randn(16, 4, device=CUDA)
    for name in ("NMF", "StreamingBatchPCA", "TruncatedSVD", "FullSVD", "FullOuterProduct"):
        kind = getattr(mho.decomposition, name)
        made = kind() if name.startswith("Full") else kind(rank=2)
        assert made.factors(x, delta, delta.T @ x, 0).left.device.type == CUDA, name
