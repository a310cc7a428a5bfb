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


def noise_models():
    """AIHWKit's noise models, and the largest weight from which its g_max is reached."""
    inference = pytest.importorskip("aihwkit.inference")
    from aihwkit.inference.converter.conductance import SinglePairConductanceConverter
    from aihwkit.inference.noise.custom import StateIndependentNoiseModel
    from aihwkit.inference.noise.hermes import HermesNoiseModel

    small = SinglePairConductanceConverter(g_max=15.0, g_min=1.5)
    return {
        "pcm": inference.PCMLikeNoiseModel(),
        "pcm of another window": inference.PCMLikeNoiseModel(g_converter=small),
        "pcm, scaled": inference.PCMLikeNoiseModel(
            prog_noise_scale=2.0, drift_scale=0.5, read_noise_scale=3.0
        ),
        "hermes that do not drift": HermesNoiseModel(drift_scale=0.0),
        "wan": inference.ReRamWan2022NoiseModel(),
        "state independent": StateIndependentNoiseModel(
            prog_coeff=[0.3, 0.5, 0.0], drift_nu_std=0.02
        ),
    }


@pytest.mark.parametrize(
    "name",
    [
        "pcm",
        "pcm of another window",
        "pcm, scaled",
        "hermes that do not drift",
        "wan",
        "state independent",
    ],
)
def test_aihwkits_noise_models_age_as_our_devices(name):
    pytest.importorskip("aihwkit")
    model = noise_models()[name]
    config = aihwkit_config()
    config.mapping.weight_scaling_columnwise = False
    config.noise_model = model
    torch.manual_seed(0)
    layer = nn.Linear(300, 300, bias=False)
    weight = layer.weight.detach()
    weight[0, 0] = weight.abs().max() * 1.001  # of which g_max is, for certain
    seconds = 86_400.0
    theirs = model.apply_noise(weight.clone(), seconds)
    hardware = from_aihwkit(config).hardware.replace(dac=None, adc=None, amplifier=None)
    ours = mho.convert(layer, hardware, seed=0).eval()
    mho.age(ours, seconds + getattr(model, "t_0", 0.0))
    held = ours(torch.eye(300)).detach().T
    # Cells of large weights, and of small ones: how they have moved, and how far they spread.
    size = weight.abs() / weight.abs().max()
    for part in (size > 0.7, (size > 0.2) & (size < 0.4)):
        sign = weight[part].sign() / weight.abs().max()
        moved = [((noisy - weight)[part] * sign) for noisy in (theirs, held)]
        assert float(moved[1].std()) == pytest.approx(float(moved[0].std()), rel=0.03)
        error = float(moved[0].std()) / int(part.sum()) ** 0.5
        assert abs(float(moved[1].mean() - moved[0].mean())) < 5.0 * error + 2e-3


def test_aihwkits_single_devices_age_as_our_cells():
    pytest.importorskip("aihwkit")
    from aihwkit.inference.noise.reram import ReRamCMONoiseModel

    model = ReRamCMONoiseModel(read_noise_scale=0.0)
    config = aihwkit_config()
    config.noise_model = model
    torch.manual_seed(0)
    hardware = from_aihwkit(config).hardware
    crossbar = mho.Crossbar(300, 300, hardware, seed=1)
    weight = torch.rand(300, 300) * 2 - 1
    crossbar.program(weight)
    mho.age(crossbar, 3600.0)
    low, high = hardware.device.window
    scale = 0.5 * (high - low) / weight.abs().max()
    target = weight * scale + 0.5 * (low + high)
    cells = model.apply_programming_noise_to_conductance(target * 1e6)
    theirs = model.apply_drift_noise_to_conductance(cells, cells, 3600.0) * 1e-6 - target
    ours = crossbar.conductance[0, :, :300] - target
    inside = (target - low > 5e-6) & (high - target > 5e-6)  # there they are cut to the window
    for error in (theirs, ours):
        assert float(error[inside].std()) == pytest.approx(float(theirs[inside].std()), rel=0.02)
        assert float(error[inside].mean()) == pytest.approx(float(theirs[inside].mean()), abs=2e-8)


def compiled(config, model):
    """The model on AIHWKit's C++ tiles; skipped where its wheel does not go with this torch."""
    from aihwkit.nn.conversion import convert_to_analog

    try:
        return convert_to_analog(model, config).eval()
    except RuntimeError as error:
        pytest.skip(f"aihwkit's C++ tiles do not work with torch {torch.__version__}: {error}")


def both(layer, x, **forward):
    configs = pytest.importorskip("aihwkit.simulator.configs")
    enums = pytest.importorskip("aihwkit.simulator.parameters.enums")
    config = configs.InferenceRPUConfig()
    config.mapping.weight_scaling_omega = 1.0
    plain = {"inp_res": -1, "out_res": -1, "out_bound": -1, "out_noise": 0.0,
             "bound_management": enums.BoundManagementType.NONE}  # fmt: skip
    for name, value in {**plain, **forward}.items():
        setattr(config.forward, name, getattr(enums.WeightNoiseType, str(value), value))
    model = nn.Sequential(layer)
    theirs = compiled(config, model)
    hardware = from_aihwkit(config).hardware
    quiet = hardware.device.replace(write_scale=0.0, read_scale=0.0)
    ours = mho.convert(model, hardware.replace(device=quiet), seed=0).eval()
    return theirs(x).detach(), ours(x).detach()


def wide():
    torch.manual_seed(0)
    layer = nn.Linear(100, 200, bias=False)
    nn.init.uniform_(layer.weight, -1.0, 1.0)
    return layer


def test_aihwkits_compiled_tiles_compute_as_ours():
    layer, x = wide(), torch.rand(64, 100)
    plain = both(layer, x)
    assert torch.allclose(*plain, atol=1e-5)
    bent = both(layer, x, out_bound=6.0, out_nonlinearity=0.5)
    assert torch.allclose(*bent, atol=1e-4)
    assert float((bent[0] - plain[0]).abs().max()) > 0.5


@pytest.mark.parametrize(
    "forward",
    [{"w_noise": 0.02, "w_noise_type": "ADDITIVE_CONSTANT"}, {"out_noise": 0.05}],
)
def test_aihwkits_compiled_noise_is_ours(forward):
    spread = [
        float(y.std(0).mean()) for y in both(wide(), torch.rand(1, 100).expand(4000, -1), **forward)
    ]
    assert spread[1] == pytest.approx(spread[0], rel=0.01)


def test_aihwkits_drop_along_bit_lines_goes_with_the_circuit():
    layer, x = wide(), torch.rand(64, 100)
    exact = x @ layer.weight.detach().T
    theirs, ours = (y - exact for y in both(layer, x, ir_drop=1.0, ir_drop_g_ratio=1e5))
    together = (theirs * ours).mean() / (theirs.square().mean() * ours.square().mean()).sqrt()
    assert float(together) > 0.95
    full = torch.ones(1, 100)
    nn.init.uniform_(layer.weight, 0.2, 1.0)
    exact = full @ layer.weight.detach().T
    drops = [
        float((1 - y / exact).mean()) for y in both(layer, full, ir_drop=1.0, ir_drop_g_ratio=1e5)
    ]
    assert drops[1] == pytest.approx(drops[0], rel=0.02)


@pytest.mark.parametrize("digital_bias", [True, False])
def test_checkpoints_of_aihwkits_compiled_tiles_are_read(digital_bias):
    configs = pytest.importorskip("aihwkit.simulator.configs")
    config = configs.InferenceRPUConfig()
    config.mapping.weight_scaling_omega = 1.0
    config.mapping.digital_bias = digital_bias
    config.mapping.learn_out_scaling = True
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 4))
    found = weights_from_aihwkit(compiled(config, model).state_dict(), like=model)
    for name, value in model.state_dict().items():
        assert torch.allclose(found.weights[name], value, atol=1e-6), name
    assert not found.ignored
