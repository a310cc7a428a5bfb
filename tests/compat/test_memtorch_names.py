"""MemTorch's names in all the ways in which programs say them."""

import inspect
import pickle
import subprocess
import sys

import pytest
from torch import nn

import mho.compat


@pytest.fixture(autouse=True)
def old_name():
    """``import memtorch`` is mho."""
    mine = not mho.compat.installed("memtorch")
    mho.compat.install("memtorch")
    yield
    if mine:
        mho.compat.uninstall("memtorch")


LINES = """
import memtorch; memtorch.patch_model, memtorch.VTEAM, memtorch.quantize, memtorch.LoadMNIST
import memtorch; memtorch.bh.VTEAM, memtorch.bh.Biolek, memtorch.bh.solve_passive, memtorch.bh.clip
import memtorch; memtorch.bh.crossbar.Crossbar.init_crossbar, memtorch.bh.crossbar.Tile.gen_tiles
import memtorch; memtorch.bh.nonideality.NonIdeality.apply_nonidealities
import memtorch; memtorch.bh.StochasticParameter.unpack_parameters
import memtorch; memtorch.bh.memristor.VTEAM.VTEAM, memtorch.bh.memristor.Memristor.Memristor
import memtorch; memtorch.bh.memristor.window.Biolek.Biolek
import memtorch.bh.memristor as m; m.VTEAM, m.plot_hysteresis_loop, m.Memristor.plot_hysteresis_loop
import memtorch.mn.Module as M; M.patch_model, M.supported_module_parameters, M.Linear
import memtorch.mn.Linear as L; L.Linear, L.naive_map, L.tiled_inference
import memtorch.bh.crossbar.Crossbar as C; C.Crossbar, C.Scheme, C.simulate_matmul
import memtorch.version; memtorch.version.__version__
import memtorch.submodules
from memtorch import *; patch_model, VTEAM, Scheme, NonIdeality, bh, mn
from memtorch import bh, map, mn, utils, __version__
from memtorch.bh import *; quantize, Crossbar, StochasticParameter, Dict2Obj, memristor
from memtorch.bh.crossbar import *; solve_passive, Crossbar, Data_Driven2021
from memtorch.bh.crossbar.Crossbar import *; gen_tiles, Data_Driven2021
from memtorch.bh.crossbar.Crossbar import Crossbar, init_crossbar, gen_tiles
from memtorch.bh.memristor.VTEAM import VTEAM, Memristor, clip, convert_range
from memtorch.bh.nonideality import *; supported_module_parameters, OperationMode
from memtorch.bh.nonideality.Endurance import naive_map, naive_program, patch_model
from memtorch.bh.nonideality.NonIdeality import *; NonIdeality, apply_device_faults
from memtorch.map import *; naive_map, naive_scale, naive_tune, pad_tensor
from memtorch.map.Module import naive_tune, pad_tensor
from memtorch.map.Parameter import naive_map, convert_range
from memtorch.mn import *; patch_model, naive_map, Linear, RNN
from memtorch.mn.Linear import Linear, naive_map
from memtorch.mn.Conv2d import *; Conv2d, init_crossbar, naive_tune
from memtorch.mn.Module import *; patch_model, Conv1d, naive_scale
"""


@pytest.mark.parametrize("line", LINES.strip().splitlines())
def test_lines_of_programs(line):
    exec(line, {})


def test_a_hidden_module_can_be_the_first_import():
    line = "import memtorch.mn.Linear as L; assert L.Linear is L and L.naive_map"
    code = f"import mho.compat; mho.compat.install('memtorch'); {line}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_what_hides_its_module_carries_its_names_unbound():
    import memtorch
    from memtorch.bh.memristor.VTEAM import VTEAM
    from memtorch.map.Parameter import naive_map

    assert memtorch.mn.Linear.Linear is memtorch.mn.Linear
    assert memtorch.mn.Linear.naive_map is naive_map
    layer = memtorch.mn.Linear(nn.Linear(3, 2), VTEAM, {}, verbose=False)
    assert layer.naive_map is naive_map  # no method of the layer's
    assert inspect.ismodule(sys.modules["memtorch.mn.Linear"])
    assert sys.modules["memtorch.mn.Linear"].Linear is memtorch.mn.Linear


def test_names_a_class_has_itself_stay_its_own():
    from memtorch.bh.memristor import Memristor, plot_hysteresis_loop

    assert Memristor.plot_hysteresis_loop is not plot_hysteresis_loop
    assert next(iter(inspect.signature(Memristor.plot_hysteresis_loop).parameters)) == "self"


def test_members_of_an_enumeration_are_its_own():
    from memtorch.bh.nonideality import NonIdeality

    assert {member.name for member in NonIdeality} == {
        "FiniteConductanceStates",
        "DeviceFaults",
        "NonLinear",
        "Endurance",
        "Retention",
    }
    assert pickle.loads(pickle.dumps(NonIdeality.Endurance)) is NonIdeality.Endurance


def test_the_version_is_in_its_module():
    import memtorch
    import memtorch.version

    assert memtorch.__version__ == memtorch.version.__version__ == "1.1.6-cpu"
