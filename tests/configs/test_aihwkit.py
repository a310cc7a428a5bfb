"""Printed configurations of AIHWKit become hardware and recipes that mean the same."""

import math
import re

import numpy as np
import pytest
import torch

import mho
from configs.texts import AIHWKIT
from mho.compat.configs import from_aihwkit
from mho.compat.configs.aihwkit_tables import DEFAULTS
from mho.compat.configs.printed import Node, flatten, parse


def changed(**changes):
    """The text with other values: ``forward__out_noise=0.0``, say."""
    text = AIHWKIT
    for name, value in changes.items():
        group, field = name.split("__")
        head = rf"(?<![\w]){group}=\w+\("
        kind = re.search(head, text)
        if group == "input_range":
            kind = re.search(r"InputRangeParameter\(", text)
        start = kind.end()
        depth, end = 1, start
        while depth:
            depth += (text[end] == "(") - (text[end] == ")")
            end += 1
        inner = re.sub(rf"(?<!\w){field}=(\[[^\]]*\]|[^,()]*)(, ?|\s*$)", "", text[start : end - 1])
        joint = ", " if inner.strip(", \n") else ""
        text = f"{text[:start]}{inner.rstrip().rstrip(',')}{joint}{field}={value}{text[end - 1 :]}"
    return text


def lost(translation):
    return {entry.setting for entry in translation.lost}


def test_printed_text_is_read_as_a_tree_without_running_anything():
    node = parse(
        "warning: x\nA(b=C.D, e=[1, -2.0], f=<G.H: 'i'>, j=K(l=None), m=<class 'n'>)", "it"
    )
    assert node == Node(
        "A", {"b": "D", "e": [1, -2.0], "f": "H", "j": Node("K", {"l": None}), "m": None}
    )
    with pytest.raises(ValueError, match="is no value of a printed configuration"):
        parse("A(b=__import__('os').getcwd())", "it")
    with pytest.raises(ValueError, match="no printed configuration"):
        parse("nothing here", "it")


def test_everything_of_the_source_is_accounted_for_once():
    for text in (AIHWKIT, changed(forward__is_perfect="True"), changed(forward__w_strange="3.0")):
        found = from_aihwkit(text)
        names = [entry.setting for entry in (*found.matched, *found.unmatched)]
        assert len(names) == len(set(names))
        assert {name for name, _ in flatten(parse(text, "it"))} <= set(names)
    assert "forward.w_strange" in lost(found)


def test_what_is_not_printed_stands_at_the_default_there():
    found = from_aihwkit(changed(forward__out_res="0.0"))
    every = {entry.setting: entry.value for entry in (*found.matched, *found.unmatched)}
    for field, value in DEFAULTS["IOParameters"].items():
        if f" {field}=" not in AIHWKIT and field != "out_res":
            assert every[f"forward.{field}"] == value


def test_the_parts_of_a_usual_configuration():
    found = from_aihwkit(AIHWKIT)
    hardware, recipe = found.hardware, found.recipe
    assert hardware.device == mho.devices.PCM()
    assert hardware.array.rows == 256
    assert hardware.array.cols == 512
    assert hardware.dac == mho.DAC(bits=8, range="calibrated")
    unit = hardware.dac.v_max * 25e-6
    assert hardware.adc.bits == 8
    assert hardware.adc.range == pytest.approx(10.0 * unit)
    assert hardware.amplifier.noise == pytest.approx(0.04 * unit)
    assert recipe.ranges == mho.train.InputRangeRule(100, 3.0, 0.01, 0.95)
    assert recipe.clip == 3.0
    assert recipe.injection.weight_noise == 0.06
    assert recipe.injection.weight_noise_of == "matrix"
    assert recipe.injection.effects == (mho.train.recipes.DropConnect(0.01),)
    assert lost(found) == set()


@pytest.mark.parametrize("bits", [2, 5, 8, 12])
def test_resolutions_are_bits_given_as_steps_or_as_their_inverse(bits):
    for resolution in (2**bits - 2, 1 / (2**bits - 2)):
        found = from_aihwkit(changed(forward__out_res=repr(resolution)))
        assert found.hardware.adc.bits == bits
    found = from_aihwkit(changed(forward__out_res="100.0"))
    assert found.hardware.adc.bits == 7
    assert any("101 levels there, 127 here" in entry.note for entry in found.inexact)


def quantised(x, bits, bound):
    """AIHWKit's rounding: to multiples of ``2 · bound / (2^bits − 2)``, then clipped to ±bound."""
    step = 2 * bound / (2**bits - 2)
    return np.clip(np.round(x / step) * step, -bound, bound)


@pytest.mark.parametrize("columns", [False, True])
def test_outputs_are_those_of_its_equations(columns):
    torch.manual_seed(0)
    layer = torch.nn.Linear(40, 12).double()
    x = torch.randn(30, 40, dtype=torch.float64)
    text = changed(
        forward__out_noise="0.0", forward__out_bound="2.5", input_range__enable="False",
        forward__noise_management="NoiseManagementType.ABS_MAX", forward__out_res="62",
        mapping__weight_scaling_columnwise=str(columns), noise_model__prog_noise_scale="0.0",
        noise_model__read_noise_scale="0.0",
    )  # fmt: skip
    found = from_aihwkit(text)
    chip = mho.convert(layer, found.hardware, seed=0).eval()
    w = layer.weight.detach().numpy()
    scale = np.abs(w).max(1, keepdims=True) if columns else np.abs(w).max()
    alpha = np.abs(x.numpy()).max(1, keepdims=True)
    y = quantised(x.numpy() / alpha, 8, 1.0) @ (w / scale).T
    assert (np.abs(y) > 2.5).any()  # the bound acts
    wanted = quantised(y, 6, 2.5) * alpha * np.broadcast_to(scale, w.shape).T[:1]
    wanted = wanted + layer.bias.detach().numpy()
    off = np.abs(chip(x).detach().numpy() - wanted)
    step = 5.0 / 62 * (alpha * np.broadcast_to(scale, w.shape).T[:1])
    assert np.mean(off > 1e-5) < 0.01  # but for numbers between two levels
    assert (off <= step * 1.01).all()


def test_noise_of_outputs_and_of_weights_has_its_size():
    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 4, bias=False)
    x = torch.rand(1, 64)
    text = changed(
        forward__out_noise="0.05", forward__out_res="0", forward__out_bound="0",
        input_range__enable="False", forward__noise_management="NoiseManagementType.ABS_MAX",
        forward__inp_res="0", noise_model__prog_noise_scale="0.0",
        noise_model__read_noise_scale="0.0", forward__w_noise="0.02",
        forward__w_noise_type="WeightNoiseType.ADDITIVE_CONSTANT",
    )  # fmt: skip
    chip = mho.convert(layer, from_aihwkit(text).hardware, seed=0).eval()
    reads = chip(x.expand(20000, -1)).detach()
    scaled = x / x.max()
    each = math.sqrt(0.05**2 + 0.02**2 * float(scaled.square().sum()))
    wanted = each * float(x.max() * layer.weight.detach().abs().max())
    # The deviation of 80,000 normals is known to 1 in 400.
    assert float(reads.std(0).square().mean().sqrt()) == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize("g_max", [25.0, 10.0])
def test_programming_error_is_its_polynomial_of_the_share_of_g_max(g_max):
    coefficients = (0.26348, 1.965, -1.1731)
    text = changed(noise_model__prog_noise_scale="1.5").replace("g_max=25.00", f"g_max={g_max}")
    device = from_aihwkit(text).hardware.device
    sigma = device.write_std(torch.tensor([0.6 * device.window[1]]), None)
    share = sum(c * 0.6**k for k, c in enumerate(coefficients)) * 1.5 / 25.0
    assert float(sigma[0] / device.window[1]) == pytest.approx(share, rel=1e-4)


MODELS = {
    "PCMLikeNoiseModel(g_converter=SinglePairConductanceConverter(g_max=25.00, g_min=0.00), "
    "g_max=25.0, prog_coeff_g_max_reference=25.0, prog_coeff=[0.26348, 1.965, -1.1731], t_0=20.0, "
    "t_read=2.5e-07, prog_noise_scale=2.0, read_noise_scale=0.5, drift_scale=3.0)": mho.devices.PCM(
        write_scale=2.0, read_scale=0.5, drift_scale=3.0
    ),
    "HermesNoiseModel(num_devices=2, g_converter=SinglePairConductanceConverter(g_max=20.70, "
    "g_min=0.00), g_max=20.7, prog_coeff_g_max_reference=20.7, prog_coeff=[0.16603222, 4.71806468, "
    "-8.48101252, 4.68961419], t_0=300.0, t_read=5.12e-07, prog_noise_scale=1.0, "
    "read_noise_scale=1.0, drift_scale=1.0)": mho.devices.PCMHermes(),
    "ReRamCMONoiseModel(g_converter=SingleDeviceConductanceConverter(g_max=88.20, g_min=9.00), "
    "g_max=88.199997, g_min=9.0, coeff_g_max_reference=88.199997, coeff_dict={0.2: [0.00081107, "
    "0.00106879], 2: [0.0112185391, 0.01129027418]}, prog_noise_scale=1.0, read_noise_scale=1.0, "
    "drift_scale=1.0, decay_dict={'mean': [-0.08900206], 'std': [0.04201137, 0.41183342]}, "
    "read_dict={'K': 0.0277316483, 't_read': 1e-06}, acceptance_range=2)": mho.devices.ReRAMCMO(
        acceptance=0.02
    ),
    "ReRamWan2022NoiseModel(g_converter=SinglePairConductanceConverter(g_max=40.00, g_min=0.00), "
    "g_max=40.0, coeff_g_max_reference=40.0, prog_coeff_g_max_reference=40.0, coeff_dic={1.0: "
    "[0.348, 16.03, -43.853, 45.393, -16.815], 86400.0: [0.701, 22.086, -50.773, 47.095, -16.458], "
    "172800.0: [0.782, 20.274, -43.507, 37.062, -11.934]}, noise_scale=1.0)": mho.devices.ReRAMWan(
        g_min=0.0
    ),
    "StateIndependentNoiseModel(g_converter=SinglePairConductanceConverter(g_max=25.00, "
    "g_min=0.00), g_max=25.0, prog_coeff=[0.2, 0.0, 0.0], prog_noise_scale=1.0, drift_nu_mean=0.1, "
    "drift_nu_std=0.05, drift_scale=1.0, t_0=20.0, read_noise_scale=1.0, "
    "t_read=2.5e-07)": mho.devices.GenericStatistical(
        write_sigma=(0.2e-6, 0.0, 0.0), nu=0.1, nu_std=0.05, t0=20.0, read_sigma=(0.0, 1e-6),
        t_read=250e-9,
    ),
}  # fmt: skip


@pytest.mark.parametrize("model", MODELS, ids=lambda text: text.split("(")[0])
def test_noise_models_are_devices(model):
    text = re.sub(r"noise_model=.*\),\n", lambda _: f"noise_model={model},\n", AIHWKIT)
    found = from_aihwkit(text)
    device = found.hardware.device
    wanted = MODELS[model]
    assert type(device) is type(wanted)
    for name, value in wanted.to_dict().items():
        given = getattr(device, name, None)
        assert given == (pytest.approx(value) if isinstance(value, float) else given), name
    assert not any(name.startswith("noise_model") for name in lost(found))


def test_the_sum_of_a_state_independent_model_is_that_of_its_equations():
    text = re.sub(r"noise_model=.*\),\n", lambda _: f"noise_model={list(MODELS)[-1]},\n", AIHWKIT)
    hardware = from_aihwkit(text).hardware.replace(amplifier=None, adc=None, dac=None)
    torch.manual_seed(0)
    layer = torch.nn.Linear(200, 200, bias=False)
    chip = mho.convert(layer, hardware, seed=0).eval()
    (crossbar,) = mho.crossbars(chip).values()
    held, asked = crossbar.conductance.flatten(), hardware.encoding.encode(
        layer.weight.detach().T, *hardware.device.window
    )[0].flatten()  # fmt: skip
    above = asked > 2e-6  # where the floor at 0 S is far
    assert float((held - asked)[above].std()) == pytest.approx(0.2e-6, rel=0.02)


def test_pairs_of_several_significances_need_their_factors():
    text = AIHWKIT.replace("SinglePairConductanceConverter(", "NPairConductanceConverter(")
    with pytest.raises(ValueError, match="does not print its f_lst"):
        from_aihwkit(text)
    found = from_aihwkit(text.replace("g_min=0.00", "g_min=0.00, f_lst=[1.0, 3.0]"))
    encoding = found.hardware.encoding
    assert encoding.significances == (1.0, 3.0)
    assert found.hardware.adc.range == pytest.approx(10.0 * 0.2 * 4.0 * 25e-6)


def test_noise_of_training_is_relative_to_what_it_is_there():
    found = from_aihwkit(
        changed(modifier__rel_to_actual_wmax="False", modifier__assumed_wmax="0.5")
    )
    assert found.recipe.injection.weight_noise == pytest.approx(0.03)
    found = from_aihwkit(changed(mapping__weight_scaling_columnwise="True", modifier__pdrop="0.0"))
    assert found.recipe.injection.weight_noise_of == "column"
    assert found.recipe.injection.perfect_cells
    found = from_aihwkit(changed(modifier__type="WeightModifierType.DOREFA"))
    assert {"modifier.type", "modifier.res", "modifier.dorefa_clip"} <= lost(found)
    found = from_aihwkit(changed(modifier__type="WeightModifierType.PCM_NOISE"))
    assert "modifier.pcm_t_inference" in lost(found)


def test_a_recipe_trains_on_its_hardware():
    found = from_aihwkit(AIHWKIT)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
    analog = found.recipe.prepare(model, found.hardware)
    analog(torch.randn(5, 8)).sum().backward()
    found.recipe.after_step(analog)
    found.recipe.finish(analog)
    assert analog(torch.randn(5, 8)).shape == (5, 3)


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"forward__inp_noise": "0.01"}, "forward.inp_noise"),
        ({"forward__out_sto_round": "True"}, "forward.out_sto_round"),
        ({"forward__r_series": "0.1"}, "forward.r_series"),
        ({"forward__bound_management": "B.ITERATIVE"}, "forward.bound_management"),
        ({"forward__mv_type": "AnalogMVType.BIT_WISE"}, "forward.mv_type"),
        ({"clip__type": "WeightClipType.AVERAGE_CHANNEL_MAX"}, "clip.type"),
        ({"mapping__learn_out_scaling": "True"}, "mapping.learn_out_scaling"),
        ({"forward__w_noise": "0.01", "forward__w_noise_type": "WeightNoiseType.PCM_READ"},
         "forward.w_noise"),
        ({"input_range__manage_output_clipping": "True"},
         "pre_post.input_range.manage_output_clipping"),
        ({"input_range__init_from_data": "0"}, "pre_post.input_range.init_value"),
    ],
)  # fmt: skip
def test_what_has_no_counterpart_is_reported(change, setting):
    assert setting in lost(from_aihwkit(changed(**change)))


def test_wires_are_the_share_of_a_cell_there():
    found = from_aihwkit(changed(forward__ir_drop="2.0", forward__ir_drop_g_ratio="1000.0"))
    assert found.hardware.array.wires == mho.circuit.Wires(bit=2.0 / (1000.0 * 25e-6), read="top")


def test_other_configurations_are_refused_by_name():
    with pytest.raises(TypeError, match=r"SingleRPUConfig.*PulsedSGD"):
        from_aihwkit("SingleRPUConfig(forward=IOParameters(), device=ConstantStepDevice())")
    with pytest.raises(TypeError, match="as the object or as its printed text"):
        from_aihwkit(3.0)


def test_the_account_prints_and_the_hardware_is_saved(tmp_path):
    found = from_aihwkit(changed(forward__inp_noise="0.01"))
    text = str(found)
    assert "aihwkit: settings with a counterpart" in text
    assert re.search(r"forward\.inp_noise\s+0\.01\s+drivers here have no noise", text)
    found.save(tmp_path / "chip.yaml")
    assert mho.load_hardware(tmp_path / "chip.yaml") == found.hardware
    (tmp_path / "config.txt").write_text(AIHWKIT)
    assert from_aihwkit(tmp_path / "config.txt").hardware == from_aihwkit(AIHWKIT).hardware
