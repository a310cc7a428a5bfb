"""Gradient checkpointing: a forward pass is computed twice, and hardware is the same twice."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import menu
import mho
from mho.train import InputRangeRule, NoiseInjection

# Each draws, or keeps, something of another kind in its forward pass.
CASES = [
    {},
    {"device": "spread", "effects": "cycles"},
    {"device": "exponential", "encoding": "sliced", "dac": "serial"},
    {"device": "yakopcic", "amplifier": "shared"},
    {"encoding": "lea", "effects": "stuck"},
    {"array": "wires", "effects": "reading"},
    {"dac": "per call", "adc": "per call"},
    {"adc": "minmax", "effects": "telegraph"},
    {"effects": "drift", "amplifier": "spread"},
]


def name_of(case):
    return ", ".join(f"{k} {v}" for k, v in case.items()) or "base"


def gradients(model, x, forward):
    """Return outputs and gradients of a step in which everything random starts from one seed."""
    model.zero_grad()
    torch.manual_seed(3)
    y = forward(model, x)
    y.square().sum().backward()
    return [y.detach(), *(p.grad.clone() for p in model.parameters())]


def plain(model, x):
    return model(x)


def resumed(reentrant):
    def forward(model, x):
        for part in model:
            x = checkpoint(part, x, use_reentrant=reentrant)
        return x

    return forward


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_gradients_are_those_of_a_plain_step(case):
    model = menu.built("two", menu.hardware_of({**menu.USUAL, **case}), seed=2).train()
    x = menu.given("two").requires_grad_()
    plain(model, x)  # wires are solved once
    wanted = gradients(model, x, plain)
    again = gradients(model, x, plain)
    for reentrant in (False, True):
        for found, want in zip(gradients(model, x, resumed(reentrant)), wanted, strict=True):
            assert torch.equal(found, want)
    for found, want in zip(again, wanted, strict=True):
        assert torch.equal(found, want)


@pytest.mark.parametrize("memory", [None, 3000])
@pytest.mark.parametrize("layer", ["groups", "up", "attention", "pair", "lstm"])
def test_of_every_layer(layer, memory):
    """Also where reads work their currents out anew for the gradients, inside of what is anew."""
    case = {**menu.USUAL, "effects": "reading" if memory else "drift"}
    model = nn.Sequential(menu.built(layer, menu.hardware_of(case), seed=2)).train()
    x = menu.given(layer).requires_grad_()
    if memory:
        mho.limit_memory(model, memory)
    wanted = gradients(model, x, plain)
    for reentrant in (False, True):
        for found, want in zip(gradients(model, x, resumed(reentrant)), wanted, strict=True):
            assert torch.equal(found, want)


def test_practice_and_learned_ranges():
    case = {**menu.USUAL, "effects": "even drift"}
    model = menu.built("two", menu.hardware_of(case), seed=2)
    x = menu.given("two").requires_grad_()
    mho.calibrate(model, x)
    for crossbar in mho.crossbars(model).values():
        crossbar.learn_ranges()
        crossbar.inject_noise(NoiseInjection(effects=(mho.effects.StuckAt(0.1),), ages=(1.0, 1e6)))
    model.train()
    wanted = gradients(model, x, plain)
    assert all(bool(w.abs().sum() > 0) for w in wanted)
    for reentrant in (False, True):
        for found, want in zip(gradients(model, x, resumed(reentrant)), wanted, strict=True):
            assert torch.equal(found, want)


@pytest.mark.parametrize("memory", [None, 1000])
def test_batches_that_start_a_range_count_once(memory):
    hardware = mho.Hardware(dac=mho.DAC(8), adc=mho.ADC(8), effects=menu.EFFECTS["reading"])
    found = []
    for forward in (plain, resumed(False), resumed(True)):
        model = menu.built("two", hardware, seed=2)
        if memory:
            mho.limit_memory(model, memory)
        for crossbar in mho.crossbars(model).values():
            crossbar.learn_ranges(InputRangeRule(batches=3, deviations=2.0))
        model.train()
        x = menu.given("two", batch=40).requires_grad_()
        steps = [gradients(model, (k + 1) * x, forward) for k in range(2)]
        learned = [c.learned_range.detach() for c in mho.crossbars(model).values()]
        assert [int(c.range_batches) for c in mho.crossbars(model).values()] == [2, 2]
        found.append([*learned, *(t for step in steps for t in step)])
    torch.testing.assert_close(found[0][0], 3.0 * x.detach().std().reshape(1))
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert torch.equal(one, two)


def test_wires_that_are_solved_seldom_are_solved_alike_twice():
    hardware = mho.Hardware(
        array=mho.Array(8, 8, wires=menu.WIRES, solve_every=3), effects=menu.EFFECTS["writing"]
    )
    models = [menu.built("two", hardware, seed=2).train() for _ in range(2)]
    x = menu.given("two")
    for _ in range(5):  # steps that solve, and steps that do not
        pairs = zip(models, (plain, resumed(False)), strict=True)
        found = [gradients(model, x, forward) for model, forward in pairs]
        for one, two in zip(*found, strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=0)
        with torch.no_grad():
            for model in models:
                for parameter in model.parameters():
                    parameter -= 0.01 * parameter.grad


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_switch_of_hugging_face(kind):
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 32, "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2}
    torch.manual_seed(0)
    if kind == "gpt2":
        config = transformers.GPT2Config(n_embd=16, n_head=2, n_layer=2, vocab_size=32)
        digital = transformers.GPT2LMHeadModel(config)
    else:
        config = transformers.LlamaConfig(intermediate_size=24, **sizes)
        digital = transformers.LlamaForCausalLM(config)
    hardware = mho.Hardware(dac=mho.DAC(8), adc=mho.ADC(8), effects=(mho.effects.WriteNoise(0.05),))
    analog = mho.convert(digital, hardware).train()
    tokens = torch.randint(32, (2, 6), generator=torch.Generator().manual_seed(1))
    found = []
    for reentrant in (None, False, True):
        analog.zero_grad()
        if reentrant is not None:
            analog.gradient_checkpointing_enable({"use_reentrant": reentrant})
        torch.manual_seed(5)
        analog(tokens, labels=tokens).loss.backward()
        found.append({n: p.grad.clone() for n, p in analog.named_parameters()})
    for other in found[1:]:
        for name, grad in other.items():
            torch.testing.assert_close(grad, found[0][name], rtol=1e-5, atol=1e-7, msg=name)
