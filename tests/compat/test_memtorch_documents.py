"""Every public name, signature and code sample of MemTorch 1.1.6's API documents.

The documents themselves are read where they are: in the folder named by ``MHO_REFERENCE``, or in
``../shared/reference/seeds`` beside the checkout.
"""

import copy
import enum
import importlib
import inspect
import math
import os
import re
import sys
from pathlib import Path

import pytest
import torch

import mho.compat
import mho.compat.memtorch

FOLDER = Path(os.environ.get("MHO_REFERENCE", Path(__file__).parents[3] / "shared/reference/seeds"))


def documents():
    """Texts of the documents, or nothing."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.txt"))]
    return [text for text in texts if "memtorch.bh.crossbar" in text]


DOCUMENTS = documents()
needs_documents = pytest.mark.skipif(
    not DOCUMENTS, reason=f"no MemTorch documents in {FOLDER} (set MHO_REFERENCE)"
)


@pytest.fixture(autouse=True)
def old_names():
    """``import memtorch`` is mho."""
    mine = not mho.compat.installed("memtorch")
    mho.compat.install("memtorch")
    yield
    if mine:
        mho.compat.uninstall("memtorch")


def resolve(name):
    """Find a dotted name: its longest part that is a module, then attributes."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        # The documents call a class by its module's path, too.
        return getattr(found, parts[-1]) if inspect.ismodule(found) else found
    raise AssertionError(f"nothing of {name} can be imported")


def by_attributes(name):
    """Follow a dotted name from ``import memtorch`` by attributes alone."""
    found = importlib.import_module("memtorch")
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    return found


def told(default):
    """Say a default as the documents do."""
    if default is inspect.Parameter.empty:
        return None
    if inspect.isfunction(default):
        return f"<function {default.__name__}>"
    if isinstance(default, enum.Enum):
        return f"<{type(default).__name__}.{default.name}: {default.value}>"
    if isinstance(default, float) and not math.isfinite(default):
        return str(default)
    return repr(default)


def signature(thing):
    """Return ``[(name, default)]`` of something callable, without ``self``."""
    parameters = inspect.signature(thing).parameters.values()
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return [
        (stars.get(p.kind, "") + p.name, told(p.default)) for p in parameters if p.name != "self"
    ]


def parsed(text):
    """Read ``a, b=1, c={'x': (2, 3)}, **d`` into ``[(name, default)]``."""
    text = re.sub(r"(?<!\*)\*(\w+)\*(?!\*)", r"\1", re.sub(r"\s+", " ", text))  # *italics*
    pieces, depth = [""], 0
    for letter in text:
        depth += (letter in "([{<") - (letter in ")]}>")
        if letter == "," and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += letter
    pairs = (piece.strip().partition("=") for piece in pieces if piece.strip())
    return [(name.strip(), default.strip() if equals else None) for name, equals, default in pairs]


def same(documented, actual):
    """Whether two defaults are one, whatever their spelling (0 and 0.0)."""
    try:
        return float(documented) == float(actual) or documented == actual
    except (TypeError, ValueError):
        return documented == actual


def compare(name, documented, actual):
    assert [key for key, _ in actual] == [key for key, _ in documented], name
    for (key, expected), (_, found) in zip(documented, actual, strict=True):
        assert same(expected, found), f"{name}: {key}={expected} is documented, found {found}"


# ---- the table: what a user may call, and how

CROSSBAR = "use_bindings=True, cuda_malloc_heap_size=50, random_crossbar_init=False"
ADC = "ADC_resolution=None, ADC_overflow_rate=0.0, quant_method=None"
LAYER = (
    "memristor_model, memristor_model_params, mapping_routine=<function naive_map>, "
    "transistor=True, programming_routine=None, programming_routine_params={}, p_l=None, "
    "scheme=<Scheme.DoubleColumn: 2>, tile_shape=None, max_input_voltage=None, "
    "scaling_routine=<function naive_scale>, scaling_routine_params={}, source_resistance=None, "
    f"line_resistance=None, {ADC}, use_bindings=True, random_crossbar_init=False, verbose=True, "
    "*args, **kwargs"
)
LINES = f"source_resistance=None, line_resistance=None, {ADC}, transistor=True"
BH = "memtorch.bh"
MODELS = f"{BH}.nonideality.endurance_retention_models"
NORMAL = "<class 'torch.distributions.normal.Normal'>"
SCALING = "p_0, p_1, v_stop, v_stop_min, v_stop_max, v_stop_optimal, cell_size=10"
TABLE = {
    f"{BH}.crossbar.Crossbar.Crossbar": (
        f"memristor_model, memristor_model_params, shape, tile_shape=None, {CROSSBAR}"
    ),
    f"{BH}.crossbar.Crossbar.init_crossbar": (
        "weights, memristor_model, memristor_model_params, transistor, mapping_routine, "
        "programming_routine, programming_routine_params={}, p_l=None, "
        f"scheme=<Scheme.DoubleColumn: 2>, tile_shape=(128, 128), {CROSSBAR}"
    ),
    f"{BH}.crossbar.Crossbar.simulate_matmul": (
        "input, crossbar, nl=True, tiles_map=None, crossbar_shape=None, max_input_voltage=None, "
        f"{ADC}, use_bindings=True"
    ),
    f"{BH}.crossbar.Program.gen_programming_signal": (
        "number_of_pulses, pulse_duration, refactory_period, voltage_level, time_series_resolution"
    ),
    f"{BH}.crossbar.Program.naive_program": (
        "crossbar, point, conductance, rel_tol=0.01, pulse_duration=0.001, refactory_period=0, "
        "pos_voltage_level=1.0, neg_voltage_level=-1.0, timeout=5, force_adjustment=0.001, "
        "force_adjustment_rel_tol=0.1, force_adjustment_pos_voltage_threshold=0, "
        "force_adjustment_neg_voltage_threshold=0, failure_iteration_threshold=1000, "
        "simulate_neighbours=True"
    ),
    f"{BH}.crossbar.Tile.Tile": "tile_shape, patch_num=None",
    f"{BH}.crossbar.Tile.gen_tiles": "tensor, tile_shape, input=False, use_bindings=True",
    f"{BH}.crossbar.Tile.tile_matmul": (
        "mat_a_tiles, mat_a_tiles_map, mat_a_shape, mat_b_tiles, mat_b_tiles_map, mat_b_shape, "
        f"{LINES}, use_bindings=True, cuda_malloc_heap_size=50"
    ),
    f"{BH}.crossbar.Tile.tile_matmul_row": (
        f"mat_a_row_tiles, mat_a_tiles_map, mat_b_tiles, mat_b_tiles_map, mat_b_shape, {LINES}"
    ),
    f"{BH}.crossbar.Tile.tiled_inference": "input, m, transistor",
    f"{BH}.crossbar.Passive.solve_passive": (
        "conductance_matrix, V_WL, V_BL, R_source, R_line, n_input_batches=None, "
        "det_readout_currents=True, use_bindings=True, cuda_malloc_heap_size=None"
    ),
    f"{BH}.Quantize.quantize": (
        "tensor, quant, overflow_rate=0.0, quant_method=None, min=nan, max=nan, "
        "override_original=False"
    ),
    f"{BH}.StochasticParameter.Dict2Obj": "dictionary",
    f"{BH}.StochasticParameter.StochasticParameter": (
        f"distribution={NORMAL}, min=0, max=inf, function=True, **kwargs"
    ),
    f"{BH}.StochasticParameter.unpack_parameters": (
        "local_args, r_rel_tol=None, r_abs_tol=None, resample_threshold=5"
    ),
    f"{BH}.nonideality.NonIdeality.apply_nonidealities": "model, non_idealities, **kwargs",
    f"{BH}.nonideality.DeviceFaults.apply_device_faults": (
        "layer, lrs_proportion, hrs_proportion, electroform_proportion"
    ),
    f"{BH}.nonideality.DeviceFaults.apply_cycle_variability": (
        f"layer, distribution={NORMAL}, min=0, max=inf, parallelize=False, r_off_kwargs={{}}, "
        "r_on_kwargs={}"
    ),
    f"{BH}.nonideality.FiniteConductanceStates.apply_finite_conductance_states": (
        "layer, n_conductance_states"
    ),
    f"{BH}.nonideality.NonLinear.apply_non_linear": (
        "layer, sweep_duration=1, sweep_voltage_signal_amplitude=1, "
        "sweep_voltage_signal_frequency=1, num_conductance_states=None, simulate=False"
    ),
    f"{BH}.nonideality.Endurance.apply_endurance_model": (
        "layer, x, endurance_model=<function model_endurance_retention>, **endurance_model_kwargs"
    ),
    f"{BH}.nonideality.Retention.apply_retention_model": (
        "layer, time, retention_model=<function model_conductance_drift>, **retention_model_kwargs"
    ),
    f"{MODELS}.scale_p_0": SCALING,
    f"{MODELS}.empirical_metal_oxide_RRAM.scale_p_0": SCALING,
    f"{MODELS}.model_conductance_drift": ("layer, x, initial_time=1e-12, drift_coefficient=0.1"),
    f"{MODELS}.model_endurance_retention": (
        "layer, operation_mode, x, p_lrs, stable_resistance_lrs, p_hrs, stable_resistance_hrs, "
        "cell_size, temperature, temperature_threshold=298, legacy=False"
    ),
    f"{MODELS}.empirical_metal_oxide_RRAM.model_endurance_retention_gradual": (
        "initial_resistance, x, p_0, p_1, p_2, p_3, threshold, temperature_constant, cell_size=None"
    ),
    "memtorch.map.Input.naive_scale": "module, input, force_scale=False",
    "memtorch.map.Module.naive_tune": "module, input_shape, verbose=True",
    "memtorch.map.Parameter.naive_map": "weight, r_on, r_off, scheme, p_l=None",
    "memtorch.mn.Module.patch_model": (
        "model, memristor_model, memristor_model_params, module_parameters_to_patch={}, "
        "mapping_routine=<function naive_map>, transistor=True, programming_routine=None, "
        "programming_routine_params={'rel_tol': 0.1}, p_l=None, "
        "scheme=<Scheme.DoubleColumn: 2>, tile_shape=None, max_input_voltage=None, "
        "scaling_routine=<function naive_scale>, scaling_routine_params={}, "
        f"source_resistance=None, line_resistance=None, {ADC}, use_bindings=True, "
        "random_crossbar_init=False, verbose=True, **kwargs"
    ),
    "memtorch.mn.Linear.Linear": f"linear_layer, {LAYER}",
    "memtorch.mn.Conv1d.Conv1d": f"convolutional_layer, {LAYER}",
    "memtorch.mn.Conv2d.Conv2d": f"convolutional_layer, {LAYER}",
    "memtorch.mn.Conv3d.Conv3d": f"convolutional_layer, {LAYER}",
    "memtorch.mn.RNN.RNN": f"rnn_layer, {LAYER}",
    "memtorch.utils.convert_range": "old_value, old_min, old_max, new_min, new_max",
    "memtorch.utils.clip": "value, lower, upper",
    "memtorch.utils.pad_tensor": "tensor, tile_shape",
    "memtorch.utils.LoadMNIST": "batch_size=32, validation=True, num_workers=1",
    "memtorch.utils.LoadCIFAR10": "batch_size=32, validation=True, num_workers=1",
}
METHODS = {
    f"{BH}.crossbar.Crossbar.Crossbar": {
        "update": "from_devices=True, parallelize=False",
        "write_conductance_matrix": (
            "conductance_matrix, transistor=True, programming_routine=None, "
            "programming_routine_params={}"
        ),
    },
    f"{BH}.crossbar.Tile.Tile": {"update_array": "new_array"},
    "memtorch.mn.Linear.Linear": {"forward": "input", "tune": "input_shape=4098"},
    **{
        f"memtorch.mn.{kind}.{kind}": {
            "forward": "input",
            "tune": f"input_batch_size={batch}, input_shape=32",
        }
        for kind, batch in (("Conv1d", 8), ("Conv2d", 8), ("Conv3d", 4))
    },
}


@pytest.mark.parametrize("name", TABLE)
def test_names_and_signatures(name):
    compare(name, parsed(TABLE[name]), signature(resolve(name)))


@pytest.mark.parametrize(
    ("name", "method"), [(name, method) for name, methods in METHODS.items() for method in methods]
)
def test_methods(name, method):
    compare(
        f"{name}.{method}",
        parsed(METHODS[name][method]),
        signature(getattr(resolve(name), method)),
    )


SHORT = [
    "bh.Scheme",
    "bh.StochasticParameter",
    "bh.unpack_parameters",
    "bh.Dict2Obj",
    "bh.Quantize.quantize",
    "bh.Quantize.quant_methods",
    "bh.crossbar.Scheme",
    "bh.crossbar.Crossbar",
    "bh.crossbar.init_crossbar",
    "bh.crossbar.simulate_matmul",
    "bh.crossbar.naive_program",
    "bh.crossbar.gen_programming_signal",
    "bh.crossbar.gen_tiles",
    "bh.crossbar.tile_matmul",
    "bh.crossbar.Passive.solve_passive",
    "bh.memristor.VTEAM",
    "bh.memristor.LinearIonDrift",
    "bh.memristor.Stanford_PKU",
    "bh.memristor.Data_Driven",
    "bh.memristor.Data_Driven2021",
    "bh.memristor.Memristor",
    "bh.memristor.window",
    "bh.nonideality.NonIdeality.DeviceFaults",
    "bh.nonideality.NonIdeality.NonLinear",
    "bh.nonideality.endurance_retention_models.OperationMode",
    "map.Input.naive_scale",
    "map.Module.naive_tune",
    "map.Parameter.naive_map",
    "mn.Linear",
    "mn.Conv1d",
    "mn.Conv2d",
    "mn.Conv3d",
    "mn.Module.patch_model",
    "mn.Module.supported_module_parameters",
    "utils",
    "__version__",
]


@pytest.mark.parametrize("name", SHORT)
def test_names_by_attributes_as_programs_write_them(name):
    found = by_attributes(f"memtorch.{name}")
    # A class or function of its module's name is in front of the module.
    hidden = {"StochasticParameter", "Linear", "Conv1d", "Conv2d", "Conv3d", "Crossbar"}
    if name.rpartition(".")[2] in hidden:
        assert callable(found)


def test_scheme_as_documented():
    scheme = resolve("memtorch.bh.crossbar.Crossbar.Scheme")
    assert (scheme.SingleColumn.value, scheme.DoubleColumn.value) == (1, 2)
    assert issubclass(scheme, enum.Enum)
    assert by_attributes("memtorch.bh.Scheme") is scheme


@pytest.mark.parametrize("kind", ["Linear", "Conv1d", "Conv2d", "Conv3d"])
def test_bases_as_documented(kind):
    layer = resolve(f"memtorch.mn.{kind}.{kind}")
    assert getattr(torch.nn, kind) in layer.__bases__
    known = resolve("memtorch.mn.Module.supported_module_parameters")
    assert known[str(getattr(torch.nn, kind))] is layer


# ---- the documents themselves


def undo_wrapping(text):
    """Join what was wrapped for print: hyphens at line ends, and arrows of long code lines."""
    text = re.sub(r"\s*\n\s*[↪↳]\s*", "", text)
    return re.sub(r"(\w)-[ ]*\n\s*", r"\1", text)


def signatures(text):
    """Yield ``(name, arguments)`` of everything that is documented with its full path."""
    text = undo_wrapping(text)
    for found in re.finditer(r"^(?:class )?`?(memtorch(?:\.\w+)+)`?\(", text, re.MULTILINE):
        depth, end = 1, found.end()
        while depth:
            depth += (text[end] == "(") - (text[end] == ")")
            end += 1
        yield found[1], text[found.end() : end - 1].replace("`", "").replace("\n", " ")


@needs_documents
def test_every_signature_in_the_documents():
    checked = set()
    for text in DOCUMENTS:
        for name, arguments in signatures(text):
            printed, found = parsed(arguments), signature(resolve(name))
            if name.endswith("Conv3d"):  # four of its arguments are printed in another order
                printed, found = sorted(printed, key=str), sorted(found, key=str)
            compare(name, printed, found)
            checked.add(name.rpartition(".")[2])
    assert checked >= {
        "Crossbar", "init_crossbar", "simulate_matmul", "gen_programming_signal", "naive_program",
        "Tile", "gen_tiles", "tile_matmul", "tile_matmul_row", "tiled_inference", "quantize",
        "StochasticParameter", "unpack_parameters", "naive_scale", "naive_tune", "naive_map",
        "patch_model", "Linear", "Conv1d", "Conv2d", "Conv3d", "Dict2Obj",
    }  # fmt: skip


@needs_documents
def test_every_module_in_the_documents_index():
    names = {
        name
        for text in DOCUMENTS
        for name in re.findall(r"(memtorch(?:\.\w+)+)`?(?: \(module\))?,? \[?\d", text)
    }
    assert len(names) >= 13
    for name in names:
        assert inspect.ismodule(importlib.import_module(name))


@needs_documents
def test_every_index_entry_of_the_documents():
    entries = set()
    for text in DOCUMENTS:
        joined = re.sub(r"\s*\n\s*", " ", undo_wrapping(text))
        joined = joined.replace("mem- torch", "memtorch").replace("memtorch. ", "memtorch.")
        entries |= set(re.findall(r"(\w+) ?\(\) ?\( ?in +module +(memtorch[.\w]+)\)", joined))
        entries |= set(re.findall(r"(\w+) ?\(\) ?\((memtorch[.\w]+) +method\)", joined))
    assert len(entries) >= 20
    for name, home in entries:
        assert callable(getattr(importlib_or_class(home), name)), (home, name)


def importlib_or_class(name):
    """A module where there is one of that path, else the class."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return resolve(name)


def samples():
    """Code samples: fenced blocks that call something."""
    found = []
    for text in DOCUMENTS:
        blocks = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        # A sample that goes over a page is two blocks.
        joined = re.sub(
            r"\n```\s*\(continues on next page\)\s*\(continued from previous page\)\s*```\n",
            "\n",
            text,
        )
        if joined != text:
            blocks = re.findall(r"^```\n(.*?)^```", joined, re.MULTILINE | re.DOTALL)
        found += [b for b in blocks if re.match(r"\s*(import|from) ", b)]
    return found


class Net(torch.nn.Module):
    """The network that the documents import."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 4, 3)
        self.linear = torch.nn.Linear(16, 10)

    def forward(self, x):
        return self.linear(torch.relu(self.conv(x)).flatten(1))


@needs_documents
@pytest.mark.filterwarnings("ignore:min=1000 exceeds")
@pytest.mark.parametrize("number", range(7))
def test_every_code_sample_runs(number, monkeypatch, capsys):
    found = samples()
    assert len(found) == 7
    # "import Net" is printed for what every program defines for itself.
    monkeypatch.setitem(sys.modules, "Net", Net)
    import memtorch

    names = {"torch": torch, "memtorch": memtorch}
    code = re.sub(r"\s*\n\s*[↪↳]\s*", "", found[number])
    # The one thing changed: torch itself refuses bounds in the wrong order.
    code = code.replace("uniform_(1e-2, 1e-4)", "uniform_(1e-4, 1e-2)")
    exec(compile(code, "sample", "exec"), names)
    if "crossbar" in names:
        crossbar = names["crossbar"]
        assert crossbar.conductance_matrix.shape == (4, 64, 64)
        assert torch.isfinite(crossbar.conductance_matrix).all()
        if "set_conductance" in found[number]:
            assert crossbar.conductance_matrix[0, 0, 0] == pytest.approx(1e-4)
    elif "m" in names:
        assert names["m"](torch.rand(3, 10)).shape == (3, 10)
    else:
        model = names["patched_model"]
        model.tune_(
            {
                "<class 'memtorch.mn.Conv2d.Conv2d'>": {"input_batch_size": 2, "input_shape": 6},
                "<class 'memtorch.mn.Linear.Linear'>": {"input_shape": 64},
            }
        )
        x = torch.rand(5, 1, 4, 4)
        with torch.no_grad():
            expected, output = names["model"](x), copy.deepcopy(model)(x)
        assert float((output - expected).norm() / expected.norm()) < 0.2
    capsys.readouterr()
