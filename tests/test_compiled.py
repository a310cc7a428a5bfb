"""torch.compile: one graph in train() and eval(), compiled once, that reads what the cells hold."""

import shutil

import pytest
import torch
from torch._dynamo.utils import counters

import menu
import mho
from mho.devices import LinearDevice

# The compiler of torch 2.8 does not follow `vars`, nor functions in a function, into one graph.
pytestmark = pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13),
    reason="one graph needs torch 2.13 or later",
)
BASE = {**menu.USUAL, "layer": "two"}
QUIET = [
    {"layer": "conv", "dac": "serial", "encoding": "sliced"},
    {"layer": "attention"},
    {"array": "wires", "layer": "linear"},
]
NOISY = [
    {"effects": "reading", "layer": "up"},
    {"device": "spread", "effects": "stuck", "amplifier": "spread", "layer": "linear"},
]
SLOW_QUIET = [{"layer": "cell", "adc": "per vector"}, {"layer": "pair", "device": "yakopcic"}]
SLOW_NOISY = [{"effects": "reading", "layer": "lstm"}]


def slowly(cases):
    return [pytest.param(case, marks=pytest.mark.slow) for case in cases]


def name_of(case):
    return ", ".join(f"{k} {v}" for k, v in case.items())


def built(case):
    case = {**BASE, **case}
    model = menu.built(case["layer"], menu.hardware_of(case), seed=2)
    x = menu.given(case["layer"])
    mho.calibrate(model, x)
    mho.program(model)
    return model, x


def compiled(model, backend="aot_eager"):
    torch.compiler.reset()
    counters.clear()
    return torch.compile(model, fullgraph=True, backend=backend)


def graphs():
    return counters["stats"]["unique_graphs"]


@pytest.mark.parametrize("case", QUIET + slowly(SLOW_QUIET), ids=name_of)
def test_eval_reads_what_was_programmed_last(case):
    model, x = built(case)
    twin = compiled(model)
    seen = []
    for _ in range(3):
        torch.testing.assert_close(twin(x), model(x), rtol=1e-4, atol=1e-5)
        seen.append(model(x).detach())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter *= 0.7
        mho.program(model)
    assert not torch.equal(seen[0], seen[1])
    assert graphs() == 1
    assert not counters["graph_break"]


def test_eager_reads_between_compile_nothing_anew():
    """What a spec derives of its fields is there before a graph looks for it."""
    hardware = mho.Hardware(
        device=LinearDevice(g_min=1e-6, g_max=9e-5),
        array=mho.Array(4, 6),
        dac=mho.DAC(6),
        adc=mho.ADC(6, range="per_vector"),
    )
    model = mho.convert(torch.nn.Linear(7, 5), hardware).eval()
    x, twin = torch.randn(3, 7), compiled(model)
    for read in (twin, model, twin):
        read(x)
    assert graphs() == 1
    assert "saved" not in vars(hardware)  # is large, and nobody reads by it


@pytest.mark.parametrize("case", NOISY + slowly(SLOW_NOISY), ids=name_of)
def test_noise_is_drawn_in_the_graph(case):
    model, x = built(case)
    twin = compiled(model.train(), backend="eager")
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    first = twin(x)
    for _ in range(3):
        optimizer.zero_grad()
        y = twin(x)
        y.square().mean().backward()
        optimizer.step()
    assert not torch.equal(first, y)
    assert graphs() == 1
    model.eval()
    mho.program(model)
    assert twin(x).isfinite().all()
    assert not counters["graph_break"]


@pytest.mark.parametrize("layer", ["conv", pytest.param("lstm", marks=pytest.mark.slow)])
def test_training_steps_are_those_of_the_plain_model(layer):
    model, x = built({"layer": layer, "effects": "none"})
    for crossbar in mho.crossbars(model).values():
        crossbar.learn_ranges()
    model.train()
    found = []
    for forward in (model, compiled(model)):
        model.zero_grad()
        forward(x).square().sum().backward()
        found.append([p.grad.clone() for p in model.parameters()])
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
    assert graphs() == 1


def test_what_cannot_be_one_graph_is_known():
    """As docs/parallel.md says: training through wires."""
    model, x = built({"array": "wires", "layer": "linear"})
    with pytest.raises(torch._dynamo.exc.TorchDynamoException):
        compiled(model.train(), backend="eager")(x)


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.slow
def test_by_inductor():
    model, x = built({"effects": "none", "layer": "conv"})
    twin = compiled(model, backend="inductor")
    torch.testing.assert_close(twin(x), model(x), rtol=1e-4, atol=1e-5)
