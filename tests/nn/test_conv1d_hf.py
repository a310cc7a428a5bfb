"""GPT-2's linear layer, by Hugging Face transformers, on crossbars."""

import subprocess
import sys
import warnings

import pytest
import torch

import mho
from mho import Array, Hardware
from mho.effects import ReadNoise

transformers = pytest.importorskip("transformers")

PATHS = {
    "collapsed": Hardware(),
    "tiled": Hardware(effects=(ReadNoise(0.0),), array=Array(16, 16)),
    "bias on the array": Hardware(bias="array"),
}


def gpt2():
    config = transformers.GPT2Config(
        n_layer=2, n_embd=16, n_head=2, vocab_size=50, n_positions=16, use_cache=False
    )
    torch.manual_seed(0)
    return transformers.GPT2LMHeadModel(config).eval()


def converted(model, hardware):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mho.convert(model, hardware)


@pytest.mark.parametrize("path", PATHS)
def test_gpt2_is_on_crossbars(path):
    model = gpt2()
    analog = converted(model, PATHS[path]).eval()
    names = {f"transformer.h.{i}.{part}" for i in (0, 1) for part in _MATRICES}
    assert names <= set(mho.layers(analog))
    tokens = torch.randint(50, (2, 7))
    with torch.no_grad():
        found, wanted = analog(tokens).logits, model(tokens).logits
    assert torch.allclose(found, wanted, atol=1e-5)
    assert set(model.state_dict()) <= set(analog.state_dict())


_MATRICES = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")


def test_no_matrix_is_read_past_its_cells():
    analog = converted(gpt2(), Hardware()).eval()
    tokens = torch.randint(50, (2, 7))
    with torch.no_grad():
        before = analog(tokens).logits
        for part in _MATRICES:
            crossbar = analog.get_submodule(f"transformer.h.0.{part}").crossbar
            kept = crossbar.scale.clone()
            crossbar.store(crossbar.G, scale=0 * kept)
            assert not torch.allclose(analog(tokens).logits, before, atol=1e-4)
            crossbar.store(crossbar.G, scale=kept)
        assert torch.equal(analog(tokens).logits, before)


def test_it_learns_and_becomes_theirs_again():
    analog = converted(gpt2(), Hardware(effects=(mho.effects.WriteNoise(0.02),))).train()
    tokens = torch.randint(50, (2, 7))
    analog(tokens, labels=tokens).loss.backward()
    layer = analog.transformer.h[0].mlp.c_fc
    assert layer.weight.grad is not None
    plain = mho.collapse(analog.eval())
    found = plain.transformer.h[0].mlp.c_fc
    assert type(found) is transformers.pytorch_utils.Conv1D
    assert repr(found) == "Conv1D(nf=64, nx=16)"
    with torch.no_grad():
        assert torch.allclose(plain(tokens).logits, analog(tokens).logits, atol=1e-5)


def test_it_is_made_directly_too():
    layer = mho.nn.Conv1D(4, 6, hardware=Hardware()).eval()
    x = torch.randn(3, 6)
    assert torch.allclose(layer(x), x @ layer.weight + layer.bias, atol=1e-6)
    assert "nf=4, nx=6" in repr(layer)
    with pytest.raises(ValueError, match="nx"):
        mho.nn.Conv1D(4, 0, hardware=Hardware())
    with pytest.raises(ValueError, match="6"):
        layer(torch.randn(3, 4))
    with pytest.raises(TypeError, match="Conv1D"):
        mho.nn.Conv1D.from_digital(torch.nn.ReLU(), Hardware())


def test_one_that_computes_something_else_is_left():
    class Doubled(transformers.pytorch_utils.Conv1D):
        def forward(self, x):
            return 2 * super().forward(x)

    model = torch.nn.Sequential(torch.nn.Linear(3, 3), Doubled(3, 3))
    with pytest.warns(UserWarning, match="Doubled"):
        analog = mho.convert(model, Hardware())
    assert set(mho.layers(analog)) == {"0"}


def test_transformers_are_not_imported():
    code = (
        "import sys, torch, mho; mho.convert(torch.nn.Linear(2, 2), mho.Hardware());"
        "mho.nn.registered(); sys.exit('transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
