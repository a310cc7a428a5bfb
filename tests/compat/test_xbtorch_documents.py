"""The documents: every name and signature, every code sample, a whole program; loss landscapes."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import mho.compat
from mho.compat import xbtorch

HERE = Path(__file__).parent
SEEDS = HERE.parents[2] / "shared" / "reference" / "seeds"

# Documented signatures: parameters (without self) and defaults, as the API documents show them.
# Functions as defaults are given by name.
SIGNATURES = {
    "initialize": "*args, **kwargs",
    "get_xbtorch_param": "key, default=None",
    "XBParams": "",
    "XBParams.initialize": (
        "decomposition_algorithm=None, device_type=None, weight_range=(-1, 1), "
        "pytorch_device='cpu', wage_quantize=False, wage_params={}, inference_accelerator=None"
    ),
    "XBParams.set_var": "key, value",
    "XBParams.get_var": "key, default=None",
    "patches.xbtorch_model": "original_model, replace_all=False, exclude=None",
    "patches.model.xbtorch_model": "original_model, replace_all=False, exclude=None",
    "patches.decorators.xbtorch_layer": "cls",
    "patches.decorators.xbtorch_optimizer": "cls",
    "patches.utils.toggle_xb_eval_all_layers_stateless": "model, enable",
    "nn.SSE": "logits, label",
    "nn.nn.SSE": "logits, label",
    "nn.SelectLastStep.forward": "x",
    "nn.utils.train_classifier": (
        "data_loader, model, criterion, optimizer, epoch, num_epochs=0, device='cpu', "
        "lr_decay_rate=1.0, log=False, fast=False"
    ),
    "nn.utils.test_classifier": "data_loader, model, device, compute_cm=False, log=False",
    "nn.utils.print_num_unique_values": "tensor",
    "nn.models.LeNet5": "",
    "nn.models.VGG": "num_classes=10",
    "nn.models.RNN": "input_size, hidden_size, num_layers, output_size",
    "nn.models.SimpleLSTM": "input_size, hidden_size, num_layers, output_size",
    "nn.datasets.findFiles": "path",
    "nn.datasets.unicodeToAscii": "s, vocab",
    "nn.datasets.read_lines": "filename, vocab",
    "nn.datasets.name_to_tensor": "MAX_NAME_LENGTH, line, vocab",
    "nn.datasets.get_dataloaders": "dataset, train_split=0.8, batch_size=32",
    "nn.datasets.train_rnn": (
        "model, data_loader, criterion, optimizer, epoch, num_epochs=10, device='cpu'"
    ),
    "nn.datasets.test_rnn": "model, data_loader, device='cpu'",
    "nn.datasets.NamesDataset": "data_dict, classes, X, y",
    "nn.datasets.get_names": ("vocab, train_split, batch_size, MAX_NAME_LENGTH=8, extract_to='./'"),
    "devices.base.GenericDevice": (
        "min_conductance=None, max_conductance=None, min_conductance_set=None, "
        "min_conductance_reset=None, max_conductance_set=None, max_conductance_reset=None"
    ),
    "devices.base.GenericDevice.write": "G, pulse",
    "devices.base.GenericDevice.weight_to_conductance": "weight",
    "devices.base.GenericDevice.conductance_to_weight": "conductance",
    "devices.base.GenericDevice.gradient_to_pulse": "gradient",
    "devices.base.GenericDevice.reset_cached_params": "",
    "devices.base.AnalyticalDevice": (
        "min_conductance, max_conductance, d2d_var, c2c_var, nonlinearity_set, "
        "nonlinearity_reset, max_level"
    ),
    "devices.base.AnalyticalDevice.write": "G, numPulse, group_param_idx=(0, 0)",
    "devices.base.AnalyticalDevice.set_c2c_var": "var",
    "devices.base.AnalyticalDevice.set_d2d_var": "var",
    "devices.base.AnalyticalDevice.set_nonlinearity_set": "nl_set",
    "devices.base.AnalyticalDevice.set_nonlinearity_reset": "nl_reset",
    "devices.base.AnalyticalDevice.get_param_A": "nonlinearity",
    "devices.base.AnalyticalDevice.get_param_B": "A",
    "devices.base.AnalyticalDevice.pulse_to_conductance": "xPulse, A, B",
    "devices.base.AnalyticalDevice.conductance_to_pulse": "G, A, B",
    "devices.base.TabularDevice": (
        "reset_g, reset_dg, reset_cdf, set_g, set_dg, set_cdf, max_level"
    ),
    "devices.base.TabularDevice.write": "G, numPulse, group_param_idx=None",
    "devices.presets.AnalyticalIdeal": "",
    "devices.presets.AnalyticalReal": "",
    "devices.presets.TabularAnalyticalReal": "",
    "devices.presets.TabularCompactFeFETKriging": "name",
    "devices.presets.TabularExperimentalFemFETKriging": "name",
    "devices.utils.find_nearest": "array, values",
    "devices.utils.find_nearest_2d": "array, values",
    "devices.utils.stochastic_round": "x",
    "devices.utils.sweep_conductance_full": "device, group_param_idx=(0, 0)",
    "devices.utils.synthesize_G_dG_dataset": (
        "device, set=True, num_points=1000, min_delta_ratio=0.001, disable_filtering=False"
    ),
    "devices.utils.get_kriging_profiles": "g, dg, axis_size=100, epsilon=1e-10, **kwargs",
    "devices.utils.construct_cdf": "G_axis, dG_axis, mean_profile, std_profile",
    "quant.FixedPointQuantF.forward": "ctx, input, wl, fl, symmetric=True, rounding='nearest'",
    "quant.quantizers.fixed_point_quantize_wrapper": (
        "input, wl, fl, symmetric=True, rounding='nearest'"
    ),
    "quant.quantizers.get_range_fixed_point": "num_format",
    "quant.wage_init.truncated_normal_": "tensor, mean=0, std=1",
    "quant.wage_init.scale_limit": "param, limit, bits_W",
    "quant.wage_init.wage_init_": "tensor, bits_W, factor=2.0, mode='fan_in'",
    "quant.wage_qtorch.shift": "x",
    "quant.wage_qtorch.C": "x, bits",
    "quant.wage_qtorch.QW": "x, bits, scale=1.0, mode='nearest'",
    "quant.wage_qtorch.QG": "x, bits_G, lr, mode='nearest'",
    "quant.wage_qtorch.WAGEQuantizer": "bits_A, bits_E, A_mode='nearest', E_mode='nearest'",
    "decomposition.base.GenericDecomposition": "",
    "decomposition.base.GenericDecomposition.decompose": "input, delta, gradient, group_param_idx",
    "decomposition.base.FullOuterProduct": "",
    "decomposition.base.FullOuterProduct.decompose": "input, delta, gradient, group_param_idx",
    "decomposition.svd.FullSVD": "",
    "decomposition.svd.FullSVD.decompose": "input, delta, gradient, group_param_idx",
    "decomposition.svd.TruncatedSVD": "rank=1",
    "decomposition.svd.TruncatedSVD.decompose": "input, delta, gradient, group_param_idx",
    "decomposition.sbpca.SBPCA": "rank=1, sub_batch_size=32",
    "decomposition.sbpca.SBPCA.decompose": "input, delta, gradient, group_param_idx",
    "decomposition.nmf.NMF": "rank=1, streaming=False, max_iters=2000",
    "decomposition.nmf.NMF.decompose": "input, delta, gradient, group_param_idx=None",
    "loss.landscapes.reduction_pca": "matrix, seed=0",
    "loss.landscapes.reduction_random": "matrix, seed=None",
    "loss.landscapes.compute_grid_loss": (
        "model, full_weights, param_name, x_range, y_range, reduced_dirs, data_loader, criterion, "
        "device, epoch, resolution=1, fast=True, log=False"
    ),
    "deployment.base.register_accelerator": "name",
    "deployment.base.GenericAccelerator.read_chip": "row, n_rows, col, n_cols, fast_mode=True",
    "deployment.base.GenericAccelerator.gen_defect_map": "stuck_percentage",
    "deployment.base.GenericAccelerator.get_xb_size": "",
    "deployment.base.GenericAccelerator.initialize_chip": "",
    "deployment.base.GenericAccelerator.map_weights_to_array": (
        "sw_weight, pos_idxs=[], neg_idxs=[], additional_args={}"
    ),
    "deployment.base.GenericAccelerator.plot_array": (
        "x_start=None, x_count=None, y_start=None, y_count=None, title=None, show=False"
    ),
    "deployment.base.SimpleFixedPoint.DAC_quantize": "vector",
    "deployment.base.SimpleFixedPoint.ADC_quantize": "vector",
    "deployment.base.Daffodil.DAC_quantize": "voltage",
    "deployment.base.Daffodil.ADC_quantize": "current",
    "deployment.base.Daffodil.dac_calcvout": "x1",
    "deployment.base.Daffodil.dac_invertvout": "v",
    "deployment.base.Daffodil.adc_predict_voltage": "registervalue",
    "deployment.base.Daffodil.adc_invert_voltage": "value",
    "deployment.mapping.check_overlap": "start1, shape1, start2, shape2",
    "deployment.mapping.map_random": "accelerator, layer_shape, beta=1, current_mappings=[]",
    "deployment.weight_encoding.encode_simple_binary": (
        "accelerator, sw_weight, pos_idxs=[], neg_idxs=[], additional_args={}"
    ),
    "deployment.weight_encoding.encode_LEA1": (
        "accelerator, sw_weight, pos_idxs=[], neg_idxs=[], additional_args={}"
    ),
    "deployment.weight_encoding.encode_LEA2": (
        "accelerator, sw_weight, pos_idxs=[], neg_idxs=[], states=2, additional_args={}, log=False"
    ),
    "deployment.weight_encoding.encode_MAO": (
        "accelerator, sw_weight, pos_idxs=[], neg_idxs=[], states=2, additional_args={}, log=False"
    ),
    "deployment.weight_encoding.quantize_to_nearest": "x, G_min, d, n",
    "deployment.metrics.compute_error": "model",
    "deployment.metrics.error_mapping": (
        "accelerator, sw_weight, pos_idxs=[], neg_idxs=[], pos_matrices=None, neg_matrices=None, "
        "polling_mode='avg'"
    ),
    "deployment.committee.test_committee": "dataloader, all_models, device",
    "deployment.correction.CollaborativeLogisticClassifier": "input_size, num_classifiers",
    "deployment.correction.CollaborativeLoss": "codewords, model",
    "deployment.correction.CollaborativeLoss.forward": "output, target, threshold=0.5",
    "deployment.correction.dnn_favorable_searching_code": (
        "conf_matrix, num_classifiers, hamming_distance=3"
    ),
    "deployment.correction.variable_length_decode": "output, codewords, threshold=0.5",
    "deployment.correction.train_collaborative": (
        "model, loader, optimizer, loss_fn, codewords, device"
    ),
    "deployment.correction.test_collaborative": "model, loader, codewords, device",
    "deployment.correction.add_collaborative_logistic_classifiers": (
        "model, num_classifiers, idx=-2"
    ),
}

# Of constructors with more parameters than documented, those documented and their defaults.
AMONG_OTHERS = {
    "deployment.base.Daffodil": (
        "g_min=50, g_max=100, v_read=0.3, read_noise=10, write_noise=10, stuck_percentage=0.0, "
        "stuck_mode='real', input_encoding_scheme='instant', xb_mapping_scheme=map_random, "
        "retention_time=1.0, drift_coefficient=0.0, drift_t0=1.0, "
        "drift_variation=0.0, device='cpu'"
    ),
    "deployment.base.GenericAccelerator": (
        "g_min, g_max, v_read, read_noise, write_noise, stateful=True, xb_size=(2500, 2500), "
        "stuck_percentage=0.0, stuck_mode='real', input_encoding_scheme='instant', "
        "weight_encoding_scheme=encode_simple_binary, xb_mapping_scheme=map_random, "
        "retention_time=1.0, drift_coefficient=0.0, drift_t0=1.0, "
        "drift_variation=0.0, device='cpu'"
    ),
    "deployment.base.SimpleFixedPoint": (
        "adc_bits=5, dac_bits=5, g_min=50, g_max=100, v_read=0.3, read_noise=0, stateful=True, "
        "xb_size=(2500, 2500), write_noise=0, stuck_percentage=0.0, stuck_mode='real', "
        "input_encoding_scheme='instant', xb_mapping_scheme=map_random, "
        "weight_encoding_scheme=encode_simple_binary, "
        "retention_time=1.0, drift_coefficient=0.0, drift_t0=1.0, "
        "drift_variation=0.0, device='cpu'"
    ),
}

# What each package exports.
EXPORTS = {
    "": "initialize XBParams get_xbtorch_param activation_types layer_types misc_types",
    "decomposition": "FullSVD TruncatedSVD NMF SBPCA FullOuterProduct GenericDecomposition",
    "deployment": (
        "Daffodil SimpleFixedPoint map_random encode_simple_binary encode_MAO encode_LEA1 "
        "encode_LEA2 compute_error train_collaborative test_collaborative CollaborativeLoss "
        "add_collaborative_logistic_classifiers dnn_favorable_searching_code test_committee"
    ),
    "devices": (
        "GenericDevice AnalyticalDevice TabularDevice AnalyticalIdeal AnalyticalReal "
        "TabularAnalyticalReal TabularCompactFeFETKriging TabularExperimentalFemFETKriging"
    ),
    "loss": "reduction_pca reduction_random compute_grid_loss",
    "nn": "Linear Conv2d RNN LSTM SelectLastStep SSE",
    "optim": "SGD Adam",
    "patches": "xbtorch_model",
    "quant": "FixedPointQuantF fixed_point_quantize_wrapper get_range_fixed_point",
}

MODULES = {
    "decomposition": ("base", "nmf", "sbpca", "svd"),
    "deployment": (
        *("base", "committee", "correction", "encoding", "mapping", "metrics"),
        "weight_encoding",
    ),
    "devices": ("base", "presets", "utils"),
    "loss": ("landscapes",),
    "nn": ("datasets", "models", "nn", "utils"),
    "optim": (),
    "patches": ("decorators", "model", "utils"),
    "quant": ("quantizers", "wage_init", "wage_qtorch"),
}


@pytest.fixture(autouse=True)
def _session():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small matrices: threads would only wait
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
    xbtorch.initialize()


def find(name):
    found = xbtorch
    for part in name.split("."):
        if not hasattr(found, part):
            importlib.import_module(f"{found.__name__}.{part}")
        found = getattr(found, part)
    return found


def shown(target):
    parts = []
    for parameter in inspect.signature(target).parameters.values():
        text = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}.get(parameter.kind.name, "")
        text += parameter.name
        if parameter.default is not parameter.empty:
            default = parameter.default
            text += f"={getattr(default, '__name__', repr(default))}"
        parts.append(text)
    return parts


def parameters(name):
    target = find(name)
    found = shown(target)
    is_method = "." in name and inspect.isclass(find(name.rpartition(".")[0]))
    return found[1:] if is_method and found[:1] == ["self"] else found


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_are_those_of_the_documents(name):
    assert ", ".join(parameters(name)) == SIGNATURES[name]


@pytest.mark.parametrize("name", AMONG_OTHERS)
def test_documented_parameters_come_first_and_in_order(name):
    documented = re.split(r", (?=\w+(?:=|,|$))", AMONG_OTHERS[name])
    assert parameters(name)[: len(documented)] == documented


@pytest.mark.parametrize("package", EXPORTS)
def test_packages_export_what_is_documented(package):
    module = find(package) if package else xbtorch
    for name in EXPORTS[package].split():
        assert hasattr(module, name), name
        assert name in getattr(module, "__all__", [name])


def test_every_submodule_is_importable_under_the_old_name():
    mho.compat.install("xbtorch")
    try:
        names = [f"{package}.{name}" for package, inner in MODULES.items() for name in inner]
        for name in [*MODULES, *names]:
            module = importlib.import_module(f"xbtorch.{name}")
            assert module is importlib.import_module(f"mho.compat.xbtorch.{name}")
    finally:
        mho.compat.uninstall("xbtorch")


def test_recurrent_tuples_of_types():
    assert nn.Linear in xbtorch.layer_types
    assert nn.ReLU in xbtorch.activation_types
    assert nn.Flatten in xbtorch.misc_types


# ── the seed documents ───────────────────────────────────────────────────────────────────────


def seed(word):
    if not SEEDS.is_dir():
        pytest.skip(f"the documents are not at {SEEDS}")
    found = [text for f in sorted(SEEDS.glob("*.txt")) if word in (text := f.read_text())]
    assert found
    return found[0]


def test_names_and_signatures_of_the_seed_documents():
    text = seed("xbtorch.decomposition.base")
    classes = re.findall(r"class (xbtorch\.[\w.]+?)(\([^)]*\))?\[source\]", text)
    assert len(classes) == 2
    for path, _ in classes:
        assert inspect.isclass(find(path.removeprefix("xbtorch.")))
    methods = re.findall(r"- (?:abstract )?(\w+)\(([^)]*)\)\[source\]", text)
    assert len(methods) == 2
    for name, signature in methods:
        for path, _ in classes:
            found = parameters(f"{path.removeprefix('xbtorch.')}.{name}")
            assert ", ".join(found) == signature


def test_modules_of_the_core_concepts():
    text = seed("Core Concepts")
    for name in set(re.findall(r"xbtorch\.(\w+)", text)):
        assert inspect.ismodule(getattr(xbtorch, name)), name


# ── code samples ─────────────────────────────────────────────────────────────────────────────

QUICKSTART = """
import torch
import torch.nn as nn
import xbtorch
import xbtorch.optim as xboptim
from xbtorch.patches import xbtorch_model

class SimpleMLP(nn.Module):
   def __init__(self, input_size, hidden_size, output_size):
      self.input_size = input_size
      super(SimpleMLP, self).__init__()
      self.model = nn.Sequential(
            nn.Linear(input_size, hidden_size, bias=False),
            nn.ReLU(),
            nn.Linear(hidden_size, output_size, bias=False),
      )

   def forward(self, x):
      x = x.view(-1, self.input_size)
      x = self.model(x)
      return x

xbtorch.initialize()
model = SimpleMLP(500, 100, 10)
model = xbtorch_model(model)
optimizer = xboptim.SGD(model.parameters(), lr=0.01)
criterion = nn.CrossEntropyLoss()
for epoch in range(2):
   model.train()
   optimizer.zero_grad()
   loss = criterion(model(torch.randn(16, 500)), torch.randint(10, (16,)))
   loss.backward()
   optimizer.step()
"""


def test_quickstart():
    mho.compat.install("xbtorch")
    try:
        names = {}
        exec(QUICKSTART, names)
        assert np.isfinite(names["loss"].item())
    finally:
        mho.compat.uninstall("xbtorch")


def test_samples_of_docstrings():
    overlap = xbtorch.deployment.mapping.check_overlap
    assert overlap((0, 0), (2, 2), (1, 1), (2, 2)) is True
    assert overlap((0, 0), (2, 2), (3, 3), (2, 2)) is False


def run(*args, **options):
    return subprocess.run(
        [sys.executable, "-m", "mho.compat", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # small matrices: threads would only wait
        **options,
    )


def test_a_whole_program_runs_unmodified(tmp_path):
    start = time.perf_counter()
    result = run(HERE / "scripts" / "xbtorch_digits.py", "--epochs", "6", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    numbers = {
        key: float(value) for key, value in re.findall(r"^(\w+) = ([\d.]+)$", result.stdout, re.M)
    }
    assert numbers["digital"] > 80
    assert numbers["lea"] > numbers["plain"] - 2
    assert numbers["lea"] > 60
    assert numbers["restored"] == numbers["digital"]
    assert (tmp_path / "weights.pt").is_file()
    assert time.perf_counter() - start < 60


def test_programs_without_files_run(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(QUICKSTART) + "print('done', type(model).__name__)\n")
    result = run(script)
    assert "done SimpleMLP" in result.stdout, result.stderr


# ── loss landscapes ──────────────────────────────────────────────────────────────────────────


def test_principal_components():
    source = np.random.default_rng(0)
    matrix = source.normal(size=(12, 30)) * np.linspace(3, 0.1, 30)
    path, directions, info = xbtorch.loss.reduction_pca(matrix, seed=0)
    decomposition = pytest.importorskip("sklearn.decomposition")
    reference = decomposition.PCA(n_components=2)
    expected = reference.fit_transform(matrix)
    np.testing.assert_allclose(np.abs(path), np.abs(expected), atol=1e-8)
    np.testing.assert_allclose(np.abs(directions), np.abs(reference.components_), atol=1e-8)
    np.testing.assert_allclose(info["explained_vars"], reference.explained_variance_ratio_)
    np.testing.assert_allclose(path, (matrix - matrix.mean(0)) @ directions.T, atol=1e-8)


def test_random_directions_are_orthonormal_and_seeded_also_by_zero():
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    none, directions, info = xbtorch.loss.reduction_random(np.zeros((3, 40)), seed=0)
    assert none is None
    assert info == {}
    np.testing.assert_allclose(directions @ directions.T, np.eye(2), atol=1e-12)
    np.testing.assert_array_equal(
        directions, xbtorch.loss.reduction_random(np.zeros((3, 40)), seed=0)[1]
    )
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("fast", [True, False])
def test_grid_of_losses(fast):
    xbtorch.initialize()
    model = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    weights = {
        name: np.stack([p.detach().numpy() * k for k in (1, 2)]) for name, p in before.items()
    }
    x, y = torch.randn(10, 6), torch.arange(10) % 3
    data = [(x[:6], y[:6]), (x[6:], y[6:])]
    ways = np.random.default_rng(0).normal(size=(2, 24))
    xv, yv, loss = xbtorch.loss.compute_grid_loss(
        model,
        weights,
        "0.weight",
        (-1, 1),
        (0, 1),
        ways,
        data,
        nn.CrossEntropyLoss(),
        "cpu",
        1,
        resolution=2,
        fast=fast,
    )
    assert xv.shape == yv.shape == loss.shape == (5, 3)
    inputs, labels = (x[:6], y[:6]) if fast else (x, y)
    for i, j in ((0, 0), (4, 2), (1, 2)):
        moved = {name: torch.tensor(w[1]) for name, w in weights.items()}
        step = xv[i, j] * ways[0] + yv[i, j] * ways[1]
        moved["0.weight"] = moved["0.weight"] + torch.tensor(step, dtype=torch.float32).view(4, 6)
        found = torch.func.functional_call(model, moved, (inputs,))
        expected = float(nn.functional.cross_entropy(found, labels))
        assert loss[i, j] == pytest.approx(expected, rel=1e-4)
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name])
    with pytest.raises(ValueError, match="param_name"):
        xbtorch.loss.compute_grid_loss(
            model, weights, "9.weight", (-1, 1), (0, 1), ways, data, None, "cpu", 1
        )


def test_landscape_of_a_patched_model():
    xbtorch.initialize(wage_quantize=True)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))

        def forward(self, x):
            return self.model(x.view(-1, 6))

    model = xbtorch.patches.xbtorch_model(Net())
    weights = {n: p.detach().numpy()[None] for n, p in model.named_parameters()}
    data = [(torch.randn(5, 1, 6), torch.arange(5) % 3)]
    _, _, loss = xbtorch.loss.compute_grid_loss(
        model,
        weights,
        "model.1.weight",
        (-1, 1),
        (-1, 1),
        np.eye(2, 24),
        data,
        nn.CrossEntropyLoss(),
        "cpu",
        0,
    )
    assert loss.shape == (3, 3)
    assert np.isfinite(loss).all()


# ── models and data ──────────────────────────────────────────────────────────────────────────


def test_networks_of_the_tutorials():
    models = xbtorch.nn.models if hasattr(xbtorch.nn, "models") else find("nn.models")
    assert models.LeNet5()(torch.randn(2, 1, 28, 28)).shape == (2, 10)
    assert models.RNN(3, 5, 2, 4)(torch.randn(2, 7, 3)).shape == (2, 4)
    assert models.SimpleLSTM(3, 5, 1, 4)(torch.randn(2, 7, 3)).shape == (2, 4)
    xbtorch.initialize()
    patched = xbtorch.patches.xbtorch_model(models.LeNet5())
    assert isinstance(patched.model[0], xbtorch.nn.Conv2d)
    assert patched(torch.randn(1, 1, 28, 28)).shape == (1, 10)
    with torch.device("meta"):
        assert len(models.VGG(7).model) == 19


def test_names(tmp_path, capsys):
    datasets = find("nn.datasets")
    folder = tmp_path / "data" / "names"
    folder.mkdir(parents=True)
    (folder / "B.txt").write_text("Ślusarski\nAbc\n", encoding="utf-8")
    (folder / "A.txt").write_text("Béla\nXyz\nAa\n", encoding="utf-8")
    vocab = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    assert datasets.unicodeToAscii("Ślusàrski!", vocab) == "Slusarski"
    tensor = datasets.name_to_tensor(3, "abcd", vocab)
    assert tensor.shape == (3, 52)
    assert tensor.argmax(1).tolist() == [0, 1, 2]
    dataset, train, test = datasets.get_names(vocab, 0.8, 2, extract_to=str(tmp_path))
    assert (len(dataset), dataset.classes, dataset.n_classes) == (5, ["A", "B"], 2)
    assert len(train.dataset) + len(test.dataset) == 5
    model = find("nn.models").RNN(52, 6, 1, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = datasets.train_rnn(model, train, nn.CrossEntropyLoss(), optimizer, 0, 1)
    assert np.isfinite(loss)
    found, wanted = datasets.test_rnn(model, test)
    assert len(found) == len(wanted) == 1
    assert "epoch 1/1" in capsys.readouterr().out


def test_fixed_point():
    quant = xbtorch.quant
    x = torch.tensor([0.3, -2.0, 0.9], requires_grad=True)
    y = quant.fixed_point_quantize_wrapper(x, 4, 2)
    assert y.tolist() == [0.25, -1.75, 1.0]
    y.backward(torch.tensor([1.0, 2.0, 3.0]))
    assert x.grad.tolist() == [1.0, 2.0, 3.0]

    class Number:
        wl, fl, symmetric = 4, 2, True

    assert quant.get_range_fixed_point(Number) == (-1.75, 1.75)
    Number.symmetric = False
    assert quant.get_range_fixed_point(Number) == (-2.0, 1.75)
    drawn = quant.fixed_point_quantize(torch.full((40000,), 0.1), 8, 2, rounding="stochastic")
    assert float(drawn.mean()) == pytest.approx(0.1, abs=5 * 0.25 * 0.5 / 200)
