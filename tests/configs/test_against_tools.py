"""The tools themselves, where they are installed: their objects, prints, outputs, checkpoints."""

import numpy as np
import pytest
import torch
from torch import nn

import mho
from mho.compat.configs import (
    from_aihwkit,
    from_aihwkit_lightning,
    set_input_ranges,
    weights_from_aihwkit,
    weights_from_aihwkit_lightning,
)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(60, 24), nn.ReLU(), nn.Linear(24, 5))


def aihwkit_config(**forward):
    configs = pytest.importorskip("aihwkit.simulator.configs")
    enums = pytest.importorskip("aihwkit.simulator.parameters.enums")
    config = configs.TorchInferenceRPUConfig()
    config.mapping.weight_scaling_omega = 1.0
    config.mapping.weight_scaling_columnwise = True
    config.mapping.max_input_size = 512
    config.forward.inp_res = config.forward.out_res = 1 / 254
    config.forward.out_bound = 4.0
    config.forward.bound_management = enums.BoundManagementType.NONE
    for name, value in forward.items():
        setattr(config.forward, name, value)
    return config


def test_aihwkits_objects_and_their_prints_are_one():
    configs = pytest.importorskip("aihwkit.simulator.configs")
    presets = pytest.importorskip("aihwkit.simulator.presets")
    for config in (
        configs.InferenceRPUConfig(),
        configs.TorchInferenceRPUConfig(),
        presets.StandardHWATrainingPreset(),
        aihwkit_config(),
    ):
        whole, printed = from_aihwkit(config), from_aihwkit(str(config))
        assert whole.hardware == printed.hardware
        assert whole.recipe == printed.recipe
        unknown = [e for e in whole.lost if "not known" in e.reason]
        assert unknown == []


def test_aihwkits_outputs_are_ours():
    pytest.importorskip("aihwkit")
    from aihwkit.nn.conversion import convert_to_analog

    config = aihwkit_config(out_noise=0.0)
    model = network()
    theirs = convert_to_analog(model, config).eval()
    hardware = from_aihwkit(config).hardware
    quiet = hardware.device.replace(write_scale=0.0, read_scale=0.0)
    ours = mho.convert(model, hardware.replace(device=quiet), seed=0).eval()
    x = torch.randn(200, 60)
    for k in (0, 2):
        given = x if k == 0 else torch.randn(200, 24)
        off = (theirs[k](given) - ours[k](given)).abs()
        assert float((off > 1e-4).float().mean()) < 0.01  # but for numbers between two levels
        assert float(off.mean()) < 1e-3


def test_aihwkits_noise_is_ours():
    pytest.importorskip("aihwkit")
    from aihwkit.nn.conversion import convert_to_analog

    config = aihwkit_config(out_noise=0.05)
    model = network()[:1]
    theirs = convert_to_analog(model, config).eval()
    hardware = from_aihwkit(config).hardware
    quiet = hardware.device.replace(write_scale=0.0, read_scale=0.0)
    ours = mho.convert(model, hardware.replace(device=quiet), seed=0).eval()
    x = torch.rand(1, 60).expand(20_000, -1)
    spread = [float(net(x).detach().std(0).mean()) for net in (theirs, ours)]
    assert spread[1] == pytest.approx(spread[0], rel=0.02)


def test_aihwkits_programmed_weights_spread_as_ours():
    pytest.importorskip("aihwkit")
    from aihwkit.nn.conversion import convert_to_analog

    config = aihwkit_config()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(300, 300, bias=False))
    errors = []
    theirs = convert_to_analog(model, config).eval()
    theirs.program_analog_weights() if hasattr(theirs, "program_analog_weights") else [
        tile.program_weights() for tile in theirs.analog_tiles()
    ]
    held = weights_from_aihwkit(theirs.state_dict()).weights["0.weight"]
    errors.append(held - model[0].weight.detach())
    ours = mho.convert(model, from_aihwkit(config).hardware, seed=0)
    (crossbar,) = mho.crossbars(ours).values()
    errors.append(crossbar.weight.detach().T.reshape(300, 300) - model[0].weight.detach())
    spread = [float(error.std()) for error in errors]
    assert spread[1] == pytest.approx(spread[0], rel=0.02)


@pytest.mark.parametrize("size", [512, 25])
def test_aihwkits_checkpoints_are_read(size):
    pytest.importorskip("aihwkit")
    from aihwkit.nn.conversion import convert_to_analog

    config = aihwkit_config()
    config.mapping.max_input_size = size
    config.pre_post.input_range.enable = True
    model = network()
    theirs = convert_to_analog(model, config)
    found = weights_from_aihwkit(theirs.state_dict())
    for name, value in model.state_dict().items():
        assert torch.allclose(found.weights[name], value, atol=1e-6), name
    assert found.input_ranges == {"0": 3.0, "2": 3.0}
    assert not found.ignored
    analog = mho.convert(model, from_aihwkit(config).hardware, seed=0)
    set_input_ranges(analog, found.input_ranges)


def test_lightnings_outputs_and_checkpoints_are_ours():
    pytest.importorskip("aihwkit_lightning")
    from aihwkit_lightning.nn.conversion import convert_to_analog
    from aihwkit_lightning.simulator.configs import TorchInferenceRPUConfig, WeightClipType

    config = TorchInferenceRPUConfig()
    config.forward.inp_res = config.forward.out_res = 254
    config.forward.out_bound = 4.0
    config.clip.type, config.clip.sigma = WeightClipType.LAYER_GAUSSIAN_PER_CHANNEL, 2.5
    config.pre_post.input_range.enable = True
    whole, printed = from_aihwkit_lightning(config), from_aihwkit_lightning(str(config))
    assert whole.hardware == printed.hardware
    assert whole.recipe == printed.recipe
    model = network()
    theirs = convert_to_analog(model, config).eval()
    found = weights_from_aihwkit_lightning(theirs.state_dict())
    plain = network()
    plain.load_state_dict(found.weights)
    ours = mho.convert(plain, whole.hardware, seed=0).eval()
    set_input_ranges(ours, found.input_ranges)
    x = torch.randn(200, 60)
    off = (theirs[0](x) - ours[0](x)).detach().abs().numpy()
    assert np.mean(off > 1e-4) < 0.01
    assert off.mean() < 1e-3
