# ruff: noqa
"""A user's cell after cell for MemTorch 1.1.6, unmodified: what people try out line by line.

Each line is one habit; it is true, or it says so.
"""

import copy
import io
import pickle
import types

import memtorch
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from memtorch.bh.crossbar.Crossbar import Crossbar
from memtorch.bh.crossbar.Program import gen_programming_signal, naive_program
from memtorch.bh.nonideality.NonIdeality import NonIdeality, apply_nonidealities
from memtorch.map.Parameter import naive_map
from memtorch.mn.Module import patch_model
from memtorch.utils import clip, convert_range

mem = memtorch.bh.memristor
LAYERS = [nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d]


def crossbar(**kwargs):
    return Crossbar(kwargs.pop("model", mem.VTEAM), kwargs, (2, 3))


def patched(model=None, **kwargs):
    model = nn.Sequential(nn.Linear(4, 3)) if model is None else model
    kwargs = {"module_parameters_to_patch": LAYERS, "verbose": False, **kwargs}
    model = patch_model(copy.deepcopy(model), mem.VTEAM, kwargs.pop("params", {}), **kwargs)
    model.tune_()
    return model


def fill(c, g):
    for i in range(c.devices.shape[0]):
        for j in range(c.devices.shape[1]):
            c.devices[i][j].set_conductance(g)
    c.update(from_devices=True, parallelize=True)
    return c


c = fill(crossbar(), 5e-3)
x = torch.rand(2, 4)
net = nn.Sequential(nn.Linear(4, 3))
conv = nn.Sequential(nn.Conv2d(2, 3, 3, padding="same", padding_mode="reflect", dilation=(1, 2)))
state = io.BytesIO()
torch.save(patched(net).state_dict(), state)
state.seek(0)


class Twice(memtorch.mn.Linear):
    def forward(self, input):
        return 2 * super().forward(input)


class Pulses(mem.LinearIonDrift):
    def simulate(self, voltage_signal, return_current=False):
        self.calls = getattr(self, "calls", 0) + 1
        return super().simulate(2 * np.asarray(voltage_signal), return_current)


def instance(device):
    device.current = types.MethodType(lambda self, voltage: 42.0, device)
    return device.current(1)


HABITS = {
    # An array of objects.
    "rows and columns": lambda: c.devices.shape == (c.rows, c.columns),
    "an array": lambda: isinstance(c.devices, np.ndarray) and c.devices.dtype == object,
    "flatten, ravel, reshape": lambda: (
        len(c.devices.flatten()) == len(c.devices.ravel()) == len(c.devices.reshape(-1)) == 6
    ),
    "flat": lambda: c.devices.flat[3].g == c.devices[1][1].g,
    "transposed": lambda: (
        c.devices.T[0][1].g == c.devices[1][0].g and np.rot90(c.devices).size == 6
    ),
    "masks": lambda: len(c.devices[np.ones((3, 2), dtype=bool)]) == 6,
    "slices": lambda: c.devices[1:, 0].shape == (2,) and c.devices[np.int64(2), np.int64(1)].g > 0,
    "enumerated": lambda: [i for i, d in np.ndenumerate(c.devices)][-1] == (2, 1),
    "the same object": lambda: (
        c.devices[0, 0] is c.devices[0][0] and len(set(c.devices.flatten())) == 6
    ),
    "an attribute of one's own": lambda: (
        setattr(c.devices[0][0], "age", 3) is None and c.devices[0][0].age == 3
    ),
    "the least": lambda: min(c.devices.flatten(), key=lambda d: d.g) in list(c.devices.flatten()),
    "stacked": lambda: np.vstack([c.devices, c.devices]).shape == (6, 2),
    "g_np": lambda: np.allclose(c.g_np(c.devices), c.conductance_matrix.numpy()),
    "saved": lambda: (
        np.save("devices.npy", c.devices, allow_pickle=True) is None
        and np.isclose(np.load("devices.npy", allow_pickle=True)[0][0].g, 5e-3)
    ),
    "pickled": lambda: np.isclose(pickle.loads(pickle.dumps(c)).devices[0][0].g, 5e-3),
    "copied": lambda: (
        lambda d: (
            d.set_conductance(9e-3)
            or (np.isclose(d.g, 9e-3) and np.isclose(c.devices[0][0].g, 5e-3))
        )
    )(copy.deepcopy(c.devices[0][0])),
    "put in": lambda: (
        lambda b: (
            b.devices.__setitem__((0, 0), mem.VTEAM(r_on=60)) is None
            and b.update() is None
            and np.isclose(b.conductance_matrix[0, 0], 1 / 60)
        )
    )(crossbar()),
    "set by two arrays": lambda: (
        lambda b: (
            np.vectorize(lambda d, g: d.set_conductance(g), otypes=[object])(
                b.devices, np.full((3, 2), 2e-3)
            ).size
            == 6
            and np.isclose(b.devices[2][1].g, 2e-3)
        )
    )(crossbar()),
    "a matrix put in": lambda: (
        lambda b: (
            setattr(b, "conductance_matrix", torch.full((3, 2), 2e-3)) is None
            and b.update(from_devices=False) is None
            and np.isclose(b.devices[2][1].g, 2e-3)
        )
    )(crossbar()),
    "methods of one object": lambda: instance(crossbar().devices[0][0]) == 42,
    # Devices.
    "conductance of any kind": lambda: all(
        mem.VTEAM().set_conductance(g) is None for g in (5e-3, np.float32(5e-3), torch.tensor(5e-3))
    ),
    "signals of any kind": lambda: all(
        len(mem.VTEAM().simulate(s, return_current=True)) == 3
        for s in (
            [0.1] * 3,
            np.full(3, 0.1),
            torch.full((3,), 0.1),
            range(3),
            (0.1, torch.tensor(0.1), np.float32(0.1)),
        )
    ),
    "states that are set": lambda: (
        lambda d: (
            setattr(d, "x", 1.5e-9) is None
            and d.simulate([0.0]) is None
            and np.isclose(1 / d.g, 525)
        )
    )(mem.VTEAM()),
    "thresholds that are set": lambda: (
        lambda d: (
            setattr(d, "v_off", 10.0) is None and d.simulate(np.ones(9)) is None and d.g == 1 / 50
        )
    )(mem.VTEAM()),
    "in order of the parameters": lambda: (
        mem.VTEAM(1e-10, 1000, 50, 3e-9, -10, 5e-4, 3, 1, -0.2, 0.02, 0, 3e-9).x_off == 3e-9
    ),
    "numbers of NumPy": lambda: mem.VTEAM(r_on=np.int64(40), r_off=np.float32(900)).r_on == 40,
    "equations": lambda: all(
        callable(getattr(m(), n))
        for m, n in (
            (mem.VTEAM, "dxdt"),
            (mem.LinearIonDrift, "dxdt"),
            (mem.Stanford_PKU, "dg_dt"),
            (mem.Stanford_PKU, "T_current"),
            (mem.Data_Driven, "resistance"),
            (mem.Data_Driven2021, "dRdt"),
        )
    ),
    "Ohm": lambda: np.allclose(
        mem.VTEAM().current(np.linspace(-1, 1, 5)), np.linspace(-1, 1, 5) / 50
    ),
    "own pulses, counted": lambda: (
        naive_program(crossbar(model=Pulses), (0, 1), 2e-3, rel_tol=0.3).calls >= 1
    ),
    "a point in a list": lambda: (
        naive_program(
            crossbar(), [0, 1], np.float32(5e-3), rel_tol=0.1, simulate_neighbours=False
        ).g
        > 0
    ),
    "the documents' example": lambda: (
        Crossbar(
            mem.VTEAM,
            {"r_on": memtorch.bh.StochasticParameter(min=10.0, max=1e2), "r_off": 1e4},
            shape=(10, 10),
            tile_shape=(6, 6),
        ).devices.shape
        == (4, 6, 6)
    ),
    "draws": lambda: (
        40
        < memtorch.bh.StochasticParameter(
            loc=np.float64(50), scale=np.float32(0.5), min=np.int64(1), max=np.inf
        )()
        < 60
    ),
    "signals by name": lambda: (
        list(
            gen_programming_signal(
                number_of_pulses=2,
                pulse_duration=1e-3,
                refactory_period=1e-3,
                voltage_level=2.0,
                time_series_resolution=1e-3,
            )[1]
        )
        == [2, 0, 2, 0]
    ),
    # Layers.
    "plain numbers come out": lambda: patched(net)(x).numpy().shape == (2, 3),
    "viewed": lambda: patched(conv)(torch.rand(2, 2, 6, 6)).view(2, -1).shape == (2, 108),
    "dilated and reflected": lambda: torch.allclose(
        patched(conv)(torch.rand(2, 2, 6, 6).fill_(0.3)),
        conv(torch.rand(2, 2, 6, 6).fill_(0.3)),
        atol=1e-4,
    ),
    "any leading shape": lambda: (
        patched(net)(torch.rand(5, 2, 4)).shape == (5, 2, 3)
        and patched(net)(torch.rand(4)).shape == (3,)
    ),
    "a state that is loaded": lambda: (
        patched(net).load_state_dict(torch.load(state, weights_only=False)) is not None
    ),
    "a digital state": lambda: (
        patched(net).load_state_dict(net.state_dict(), strict=False) is not None
    ),
    "back to digital": lambda: (
        nn.Sequential(nn.Linear(4, 3))
        .load_state_dict(patched(net).state_dict(), strict=False)
        .missing_keys
        == []
    ),
    "legacy": lambda: (lambda p: p.forward_legacy(True) is None and torch.equal(p(x), net(x)))(
        patched(net)
    ),
    "no curve yet": lambda: not hasattr(patched(net)[0], "non_linear"),
    "an own layer": lambda: Twice(net[0], mem.VTEAM, {}, verbose=False)(x).shape == (2, 3),
    "an output of one's own": lambda: (
        lambda p: (
            setattr(p[0], "transform_output", lambda y: 0 * y) is None
            and torch.allclose(p(x), p[0].bias.expand(2, 3))
        )
    )(patched(net)),
    "a mapping of one's own": lambda: torch.allclose(
        patched(
            net,
            mapping_routine=lambda weight, r_on, r_off, scheme, p_l=None: naive_map(
                weight, r_on, r_off, scheme, p_l
            ),
        )(x),
        net(x),
        atol=1e-4,
    ),
    "a scale of one's own": lambda: torch.allclose(
        patched(
            net,
            scaling_routine=lambda module, input, gain: input * gain,
            scaling_routine_params={"gain": 0.1},
            max_input_voltage=1.0,
        )(x),
        net(x),
        atol=1e-4,
    ),
    "crossbars that change places": lambda: (
        lambda p: (
            p[0].crossbars.reverse() is None
            and p.tune_() is None
            and torch.allclose(p(x), net(x), atol=1e-4)
        )
    )(patched(net)),
    "noise on the matrix": lambda: (
        lambda p: (
            [c.conductance_matrix.mul_(1.1) for c in p[0].crossbars]
            and not torch.allclose(p(x), net(x), atol=1e-4)
        )
    )(patched(net)),
    "sizes of NumPy": lambda: (
        patched(
            net,
            tile_shape=np.array([2, 2]),
            ADC_resolution=np.int64(8),
            quant_method="linear",
            max_input_voltage=np.float32(1),
        )(x).shape
        == (2, 3)
    ),
    "lines of NumPy": lambda: (
        patched(
            net, transistor=False, source_resistance=np.int64(2), line_resistance=torch.tensor(2.0)
        )(x).shape
        == (2, 3)
    ),
    "converters switched on later": lambda: (
        lambda p: (
            setattr(p[0], "ADC_resolution", 2) is None
            and setattr(p[0], "quant_method", "linear") is None
            and not torch.allclose(p(x), net(x), atol=1e-3)
        )
    )(patched(net)),
    "faults are seen": lambda: np.allclose(
        np.vectorize(lambda d: d.g)(
            apply_nonidealities(
                patched(net),
                [NonIdeality.DeviceFaults],
                lrs_proportion=np.float32(1),
                hrs_proportion=0,
                electroform_proportion=0,
            )[0]
            .crossbars[0]
            .devices
        ),
        1 / 50,
    ),
    "double precision": lambda: (
        patched(nn.Sequential(nn.Linear(4, 3)).double())(x.double()).dtype == torch.float64
    ),
    "one module, twice": lambda: (lambda p: p[0] is p[1])(
        patched(nn.Sequential(*[nn.Linear(4, 4)] * 2))
    ),
    # Functions.
    "ranges": lambda: (
        clip(3, 0, 2) == 2 and list(convert_range(np.array([0.0, 1]), 0, 1, 10, 20)) == [10, 20]
    ),
    "integers are quantised": lambda: (
        len(memtorch.bh.Quantize.quantize(torch.arange(9), 3).unique()) == 3
    ),
    "names by every way": lambda: (
        memtorch.patch_model is patch_model
        and memtorch.bh.VTEAM is mem.VTEAM
        and memtorch.naive_map is naive_map
    ),
}

failed = 0
for name, habit in HABITS.items():
    try:
        good = bool(habit())
        said = ""
    except Exception as error:
        good, said = (
            False,
            "%s: %s" % (type(error).__name__, str(error).splitlines()[0] if str(error) else ""),
        )
    if not good:
        failed += 1
        print("failed: %s %s" % (name, said))

print("habits %d failed %d" % (len(HABITS), failed))
