"""Gradient checkpointing: a forward pass is computed twice, and hardware is the same twice."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import menu
import mho
from mho.train import Practice

BASE = {
    "device": "linear",
    "encoding": "differential",
    "scaling": "largest",
    "array": "tiles",
    "dac": "bits",
    "adc": "uniform",
    "amplifier": "none",
    "effects": "writing",
    "programming": "own",
    "bias": "digital",
}
KINDS = ("device", "encoding", "array", "dac", "adc", "amplifier", "effects")
CASES = [{**BASE, kind: choice} for kind in KINDS for choice in menu.CHOICES[kind]]


def name_of(case):
    return ", ".join(f"{k} {v}" for k, v in case.items() if v != BASE[k]) or "base"


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
    try:
        model = menu.built("two", menu.hardware_of(case), seed=2).train()
    except ValueError:
        pytest.skip("refused")
    x = menu.given("two").requires_grad_()
    plain(model, x)  # wires are solved once
    wanted = gradients(model, x, plain)
    again = gradients(model, x, plain)
    for reentrant in (False, True):
        for found, want in zip(gradients(model, x, resumed(reentrant)), wanted, strict=True):
            assert torch.equal(found, want)
    for found, want in zip(again, wanted, strict=True):
        assert torch.equal(found, want)


@pytest.mark.parametrize("layer", ["conv", "groups", "lstm", "cell"])
def test_of_every_layer(layer):
    case = {**BASE, "effects": "drift"}
    model = nn.Sequential(menu.built(layer, menu.hardware_of(case), seed=2)).train()
    x = menu.given(layer).requires_grad_()
    wanted = gradients(model, x, plain)
    for reentrant in (False, True):
        for found, want in zip(gradients(model, x, resumed(reentrant)), wanted, strict=True):
            assert torch.equal(found, want)


def test_practice_and_learned_ranges():
    case = {**BASE, "effects": "even drift"}
    model = menu.built("two", menu.hardware_of(case), seed=2)
    x = menu.given("two").requires_grad_()
    mho.calibrate(model, x)
    for crossbar in mho.crossbars(model).values():
        crossbar.learn_ranges()
        crossbar.practise(Practice(effects=(mho.effects.StuckAt(0.1),), ages=(1.0, 1e6)))
    model.train()
    wanted = gradients(model, x, plain)
    assert all(bool(w.abs().sum() > 0) for w in wanted)
    for reentrant in (False, True):
        for found, want in zip(gradients(model, x, resumed(reentrant)), wanted, strict=True):
            assert torch.equal(found, want)


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
