"""AIHWKit-Lightning's configurations and checkpoints."""

import numpy as np
import pytest
import torch

import mho
from configs.texts import AIHWKIT, LIGHTNING
from mho.compat.configs import from_aihwkit_lightning, weights_from_aihwkit_lightning
from mho.compat.configs.printed import flatten, parse


def lost(translation):
    return {entry.setting for entry in translation.lost}


def test_everything_of_the_source_is_accounted_for_once():
    found = from_aihwkit_lightning(LIGHTNING.replace("out_res=254", "out_res=254, new=1"))
    names = [entry.setting for entry in (*found.matched, *found.unmatched)]
    assert len(names) == len(set(names))
    assert {name for name, _ in flatten(parse(LIGHTNING, "it"))} <= set(names)
    assert lost(found) == {"forward.new"}


def test_the_parts_of_an_analog_foundation_model():
    device = mho.devices.PCM()
    found = from_aihwkit_lightning(LIGHTNING, device=device)
    hardware, recipe = found.hardware, found.recipe
    published = mho.train.recipes.ANALOG_FOUNDATION_MODEL
    assert recipe.ranges == published.ranges
    assert recipe.injection == published.injection
    assert (recipe.clip, recipe.clip_of) == (2.5, "column")
    assert hardware.encoding.scaling.per_column
    unit = 0.2 * 25e-6
    assert hardware.adc.range == pytest.approx(12 * unit)
    assert hardware.amplifier.noise == pytest.approx(0.04 * unit)
    assert hardware.device == device


def test_outputs_are_those_of_its_equations():
    torch.manual_seed(0)
    layer = torch.nn.Linear(40, 10, bias=False).double()
    x = torch.randn(20, 40, dtype=torch.float64)
    text = LIGHTNING.replace("out_noise=0.04", "out_noise=0.0").replace(
        "dynamic=False", "dynamic=True"
    )
    text = text.replace("out_bound=12.0", "out_bound=3.0")
    chip = mho.convert(layer, from_aihwkit_lightning(text).hardware, seed=0).eval()
    w, v = layer.weight.detach().numpy(), x.numpy()
    reach = np.abs(v).max(1, keepdims=True)
    drive = np.round(v / (2 * reach / 254)) * (2 * reach / 254)
    bound = reach * 3.0 * np.abs(w).max(1)
    y = np.clip(np.round(drive @ w.T / (2 * bound / 254)) * (2 * bound / 254), -bound, bound)
    off = np.abs(chip(x).detach().numpy() - y)
    assert np.mean(off > 1e-5) < 0.01
    assert (off <= 1.01 * 2 * bound / 254).all()


def test_rounded_weights_are_states_of_the_cells():
    text = LIGHTNING.replace("quantization_type=<WeightQuantizationType.NONE: 'None'>",
                             "quantization_type=<W.DISCRETIZE_PER_CHANNEL: 'x'>")  # fmt: skip
    text = text.replace(" res=0.0", " res=14")
    hardware = from_aihwkit_lightning(text).hardware.replace(dac=None, adc=None, amplifier=None)
    torch.manual_seed(0)
    layer = torch.nn.Linear(12, 5, bias=False).double()
    held = mho.convert(layer, hardware, seed=0).eval()(torch.eye(12, dtype=torch.float64)).T
    w = layer.weight.detach()
    step = 2 * w.abs().amax(1, keepdim=True) / 14
    assert torch.allclose(held, torch.round(w / step) * step, atol=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "setting"),
    [
        ("fast_mode=False", "fast_mode=True", "pre_post.input_range.fast_mode"),
        ("enable_during_test=False", "enable_during_test=True", "modifier.enable_during_test"),
        ("<WeightClipType.LAYER_GAUSSIAN_PER_CHANNEL: 'LayerGaussianPerChannel'>",
         "<W.LEARNABLE_PER_CHANNEL: 'x'>", "clip.type"),
        ("init_from_data=500", "init_from_data=0", "pre_post.input_range.init_value"),
        ("out_bound=12.0", "out_bound=0.0", "forward.out_res"),
    ],
)  # fmt: skip
def test_what_has_no_counterpart_is_reported(old, new, setting):
    assert setting in lost(from_aihwkit_lightning(LIGHTNING.replace(old, new)))


def test_other_configurations_are_refused():
    with pytest.raises(TypeError, match="use from_aihwkit"):
        from_aihwkit_lightning(AIHWKIT)
    with pytest.raises(TypeError, match="expected a configuration of aihwkit-lightning"):
        from_aihwkit_lightning("Something(a=1)")


def test_checkpoints_lose_their_ranges_and_learned_clips():
    weight = torch.tensor([[1.0, -3.0, 0.5], [0.2, 0.1, -2.0]])
    state = {
        "0.weight": weight,
        "0.bias": torch.zeros(2),
        "0.input_range": torch.tensor([2.0, 4.0]),
        "0.input_range_update_idx": torch.tensor([5.0, 5.0]),
        "0.learnable_weight_clip": torch.tensor([[1.5, 0.15], [0.25, 1.0]]),
    }
    found = weights_from_aihwkit_lightning(state, max_input_size=2)
    wanted = torch.tensor([[1.0, -1.5, 0.25], [0.15, 0.1, -1.0]])
    assert torch.equal(found.weights["0.weight"], wanted)
    assert set(found.weights) == {"0.weight", "0.bias"}
    assert found.input_ranges == {"0": 4.0}
    assert set(found.ignored) == {"0.input_range", "0.input_range_update_idx"}
    with pytest.raises(ValueError, match="learned bounds of 2 slices"):
        weights_from_aihwkit_lightning(state)
