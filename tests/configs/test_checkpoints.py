"""AIHWKit's checkpoints become plain weights and input ranges."""

import pytest
import torch
from torch import nn

import mho
from mho.compat.configs import (
    set_input_ranges,
    weights_from_aihwkit,
    weights_from_aihwkit_lightning,
)


def tile(matrix, scale, *, rpucuda=False, **more):
    """What a tile leaves in a state dict: its matrix over its scale, and the scale."""
    held = matrix / scale.view(-1, 1)
    found = {"mapping_scales": scale, "analog_ctx": torch.tensor(1.0), **more}
    if rpucuda:
        return {**found, "analog_tile_state": {"analog_tile_weights": held}}
    return {**found, "tile.weight": held, "analog_tile_state": {"analog_tile_weights": held}}


def named(prefix, values):
    return {f"{prefix}.{name}": value for name, value in values.items()}


@pytest.mark.parametrize("rpucuda", [False, True])
def test_tiles_are_put_together_and_scaled(rpucuda):
    torch.manual_seed(0)
    w = torch.randn(5, 7)
    state = {"norm.weight": torch.ones(3)}
    for i, inputs in enumerate((slice(0, 4), slice(4, 7))):
        for j, outputs in enumerate((slice(0, 3), slice(3, 5))):
            part = w[outputs, inputs]
            scale = part.abs().amax(1)
            more = {"input_range": torch.tensor([2.0 + i])}
            state |= named(
                f"fc.analog_module.array.{i}.{j}", tile(part, scale, rpucuda=rpucuda, **more)
            )
    state["fc.analog_module.bias"] = torch.arange(5.0)
    found = weights_from_aihwkit(state)
    assert set(found.weights) == {"norm.weight", "fc.weight", "fc.bias"}
    assert torch.allclose(found.weights["fc.weight"], w)
    assert torch.equal(found.weights["fc.bias"], torch.arange(5.0))
    assert found.input_ranges == {"fc": 3.0}
    assert "largest" in found.ignored["fc: input_range"]


def test_learned_scales_of_outputs_are_multiplied_in():
    w = torch.randn(2, 3)
    state = named("analog_module", {"tile.weight": w, "mapping_scales": torch.tensor([2.0]),
                                    "out_scaling_alpha": torch.tensor([1.0, 3.0])})  # fmt: skip
    found = weights_from_aihwkit(state)
    assert torch.allclose(found.weights["weight"], w * torch.tensor([[2.0], [6.0]]))


def test_kernels_and_analog_biases_take_the_model():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 4))
    kernel = model[0].weight.detach().flatten(1)
    whole = torch.cat([model[2].weight.detach(), model[2].bias.detach()[:, None]], dim=1)
    state = named("0.analog_module", tile(kernel, torch.ones(3)))
    state["0.analog_module.bias"] = model[0].bias.detach()
    state |= named("2.analog_module", tile(whole, torch.full((4,), 0.5)))
    found = weights_from_aihwkit(state, like=model)
    model.load_state_dict(found.weights)
    for name, value in model.state_dict().items():
        assert torch.allclose(found.weights[name], value), name


def test_what_does_not_fit_is_refused():
    model = nn.Linear(3, 2)
    with pytest.raises(ValueError, match="no analog tiles"):
        weights_from_aihwkit(model.state_dict())
    with pytest.raises(TypeError, match=r"give module\.state_dict"):
        weights_from_aihwkit(model)
    state = named("analog_module", tile(torch.randn(2, 5), torch.ones(2)))
    with pytest.raises(ValueError, match=r"tiles hold \[2, 5\]"):
        weights_from_aihwkit(state, like=model)
    state = named("a.analog_module.array.0.0", tile(torch.randn(2, 5), torch.ones(2)))
    state |= named("a.analog_module.array.0.1", tile(torch.randn(2, 5), torch.ones(2)))
    state |= named("a.analog_module.array.1.0", tile(torch.randn(2, 5), torch.ones(2)))
    with pytest.raises(ValueError, match="tiles are missing"):
        weights_from_aihwkit(state)


def test_input_ranges_are_those_of_the_crossbars():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    analog = mho.convert(model, mho.Hardware(dac=mho.DAC(bits=3)), seed=0).eval()
    set_input_ranges(analog, {"0": 2.0})
    x = torch.randn(40, 6)
    step = 2.0 / 3
    drive = (x / step).round().clamp(-3, 3) * step
    assert torch.allclose(analog[0](x), model[0](drive), atol=1e-5)
    with pytest.raises(ValueError, match="no layer 'head'"):
        set_input_ranges(analog, {"2": 1.0, "head": 1.0})
    assert analog[2].crossbar.input_range.isnan()  # nothing was changed
    fixed = mho.convert(model, mho.Hardware(dac=mho.DAC(bits=3, range=1.0)), seed=0)
    with pytest.raises(ValueError, match="no range to be set"):
        set_input_ranges(fixed, {"0": 2.0})


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({1: torch.ones(2, 2)}, "a name in state_dict must be str"),
        ({"a.analog_module.tile.weight": torch.ones(3)}, r"a matrix \[out, in\], got \[3\]"),
        (named("a.analog_module", tile(torch.ones(2, 3), torch.ones(2))) |
         {"a.analog_module.mapping_scales": torch.ones(5)}, "mapping_scales must have 1 or 2"),
    ],
)  # fmt: skip
def test_states_that_are_none_are_refused(state, says):
    with pytest.raises((TypeError, ValueError), match=says):
        weights_from_aihwkit(state)


def test_what_is_no_tensor_is_named():
    found = weights_from_aihwkit_lightning({"fc.weight": torch.ones(2, 2), "a": 3})
    assert found.ignored == {"a": "no tensor"}
    with pytest.raises(ValueError, match=r"no a\.weight that it bounds"):
        weights_from_aihwkit_lightning({"a.learnable_weight_clip": torch.ones(1, 2)})
