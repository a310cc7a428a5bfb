"""Numbers of public functions: NumPy's and torch's are taken, what is none is refused by name."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import mho
from mho import analysis, decomposition, programming, study, train
from mho.chip import Chip, search_code
from mho.devices import ExponentialDevice, waveforms
from mho.effects import PowerLawDrift, ReadDisturb

DEVICE = ExponentialDevice(g_min=1e-6, g_max=1e-4, c2c=0.01)
EFFECTS = (PowerLawDrift(0.05), ReadDisturb(1e-6))
HARDWARE = mho.Hardware(device=DEVICE, effects=EFFECTS, dac=mho.DAC(6), adc=mho.ADC(6))
X, Y = torch.rand(8, 6), torch.randint(0, 3, (8,))
QUICK = programming.WriteVerify(max_pulses=3, on_failure="warn")


def plain():
    return nn.Linear(6, 3)


def model():
    return mho.convert(plain(), HARDWARE).eval()


def crossbar():
    return mho.Crossbar(4, 3, HARDWARE)


def hessian(**given):
    analysis.hessian_directions(plain(), nn.functional.cross_entropy, (X, Y), **given)


def fit(**given):
    one = plain()
    optimizer = torch.optim.SGD(one.parameters(), 0.1)
    train.fit(one, optimizer, (X, Y), nn.functional.cross_entropy, **{"epochs": 1, **given})


def in_situ(**given):
    one = plain()
    train.InSitu(torch.optim.SGD(one.parameters(), 0.1), DEVICE, model=one, **given)


def swept(**given):
    given = {"chips": 1, "workers": 0, **given}
    study.sweep({"adc.bits": [4]}, lambda hardware, seed: 1.0, hardware=HARDWARE, **given)


def train_of_pulses(**given):
    waveforms.programming_signal(**{
        "count": 2, "duration": 1e-6, "refractory": 1e-6, "level": 1.0, "resolution": 1e-7, **given
    })  # fmt: skip


MODEL = model()
# By function and parameter: a call, and a number that it takes.
CALLS = {
    "Bilinear.__init__ in1_features": (lambda v: mho.nn.Bilinear(v, 2, 2, hardware=HARDWARE), 2),
    "Bilinear.__init__ in2_features": (lambda v: mho.nn.Bilinear(2, v, 2, hardware=HARDWARE), 2),
    "Bilinear.__init__ out_features": (lambda v: mho.nn.Bilinear(2, 2, v, hardware=HARDWARE), 2),
    "Bilinear.__init__ seed": (lambda v: mho.nn.Bilinear(2, 2, 2, hardware=HARDWARE, seed=v), 2),
    "Cells.age reads": (lambda v: crossbar().cells.age(1.0, reads=v), 1.0),
    "Cells.age seconds": (lambda v: DEVICE.fabricate((2, 2)).age(v), 1.0),
    "Chip.__init__ cols": (lambda v: Chip(8, v, HARDWARE), 8),
    "Chip.__init__ endurance": (lambda v: Chip(8, 8, HARDWARE, endurance=v), 8),
    "Chip.__init__ rows": (lambda v: Chip(v, 8, HARDWARE), 8),
    "Chip.__init__ seed": (lambda v: Chip(8, 8, HARDWARE, seed=v), 8),
    "Chip.age reads": (lambda v: Chip(8, 8, HARDWARE).age(1.0, reads=v), 1.0),
    "Chip.age seconds": (lambda v: Chip(8, 8, HARDWARE).age(v), 1.0),
    "Crossbar.__init__ cols": (lambda v: mho.Crossbar(2, v, HARDWARE), 2),
    "Crossbar.__init__ groups": (lambda v: mho.Crossbar(2, 2, HARDWARE, groups=v), 2),
    "Crossbar.__init__ rows": (lambda v: mho.Crossbar(v, 2, HARDWARE), 2),
    "Crossbar.__init__ seed": (lambda v: mho.Crossbar(2, 2, HARDWARE, seed=v), 2),
    "Crossbar.age reads": (lambda v: crossbar().age(1.0, reads=v), 1.0),
    "Crossbar.age seconds": (lambda v: crossbar().age(v), 1.0),
    "Crossbar.limit_memory memory": (lambda v: crossbar().limit_memory(v), 10**9),
    "Crossbar.program seed": (lambda v: crossbar().program(torch.rand(4, 3), seed=v), 1),
    "Crossbar.reset_parameters seed": (lambda v: crossbar().reset_parameters(v), 1),
    "Device.fabricate seed": (lambda v: DEVICE.fabricate((2, 2), seed=v), 1),
    "Embedding.__init__ num_embeddings": (lambda v: mho.nn.Embedding(v, 2, hardware=HARDWARE), 2),
    "Embedding.__init__ padding_idx": (
        lambda v: mho.nn.Embedding(3, 2, v, hardware=HARDWARE), 1,
    ),
    "Embedding.__init__ seed": (lambda v: mho.nn.Embedding(2, 2, hardware=HARDWARE, seed=v), 2),
    "EmbeddingBag.__init__ seed": (
        lambda v: mho.nn.EmbeddingBag(2, 2, hardware=HARDWARE, seed=v), 2,
    ),
    "InSitu.__init__ endurance": (lambda v: in_situ(endurance=v), 9),
    "InSitu.__init__ granularity": (lambda v: in_situ(granularity=v), 0.1),
    "InSitu.__init__ max_pulses": (lambda v: in_situ(max_pulses=v), 9),
    "InSitu.__init__ seed": (lambda v: in_situ(seed=v), 9),
    "InSitu.__init__ threshold": (lambda v: in_situ(threshold=v), 1.0),
    "Linear.__init__ in_features": (lambda v: mho.nn.Linear(v, 2, hardware=HARDWARE), 2),
    "Linear.__init__ out_features": (lambda v: mho.nn.Linear(2, v, hardware=HARDWARE), 2),
    "Linear.__init__ seed": (lambda v: mho.nn.Linear(2, 2, hardware=HARDWARE, seed=v), 2),
    "MultiheadAttention.__init__ embed_dim": (
        lambda v: mho.nn.MultiheadAttention(v, 2, hardware=HARDWARE), 4,
    ),
    "MultiheadAttention.__init__ num_heads": (
        lambda v: mho.nn.MultiheadAttention(4, v, hardware=HARDWARE), 2,
    ),
    "MultiheadAttention.__init__ seed": (
        lambda v: mho.nn.MultiheadAttention(4, 2, hardware=HARDWARE, seed=v), 2,
    ),
    "NMF.__init__ iterations": (lambda v: decomposition.NMF(1, iterations=v), 2),
    "NMF.__init__ rank": (lambda v: decomposition.NMF(v), 2),
    "NMF.__init__ seed": (lambda v: decomposition.NMF(1, seed=v), 2),
    "NMF.__init__ tolerance": (lambda v: decomposition.NMF(1, tolerance=v), 0.1),
    "PulsedCells.respond cycles": (lambda v: DEVICE.fabricate((2,)).respond(4, cycles=v), 2),
    "PulsedCells.respond pulses": (lambda v: DEVICE.fabricate((2,)).respond(v), 2),
    "PulsedSGD.__init__ endurance": (
        lambda v: train.PulsedSGD(plain(), device=DEVICE, endurance=v), 9,
    ),
    "PulsedSGD.__init__ lr": (lambda v: train.PulsedSGD(plain(), device=DEVICE, lr=v), 0.1),
    "PulsedSGD.__init__ seed": (lambda v: train.PulsedSGD(plain(), device=DEVICE, seed=v), 9),
    "Recurrent.__init__ hidden_size": (lambda v: mho.nn.LSTM(2, v, hardware=HARDWARE), 2),
    "Recurrent.__init__ input_size": (lambda v: mho.nn.GRUCell(v, 2, hardware=HARDWARE), 2),
    "Recurrent.__init__ num_layers": (
        lambda v: mho.nn.RNN(2, 2, num_layers=v, hardware=HARDWARE), 2,
    ),
    "Recurrent.__init__ seed": (lambda v: mho.nn.LSTM(2, 2, hardware=HARDWARE, seed=v), 2),
    "StreamingBatchPCA.__init__ carry": (
        lambda v: decomposition.StreamingBatchPCA(1, carry=v), 0.5,
    ),
    "StreamingBatchPCA.__init__ rank": (lambda v: decomposition.StreamingBatchPCA(v), 2),
    "StreamingBatchPCA.__init__ seed": (lambda v: decomposition.StreamingBatchPCA(1, seed=v), 2),
    "StreamingBatchPCA.__init__ sub_batch": (
        lambda v: decomposition.StreamingBatchPCA(1, sub_batch=v), 2,
    ),
    "TikiTaka.__init__ lr": (lambda v: train.TikiTaka(plain(), device=DEVICE, lr=v), 0.1),
    "TikiTaka.__init__ seed": (lambda v: train.TikiTaka(plain(), device=DEVICE, seed=v), 9),
    "TruncatedSVD.__init__ rank": (lambda v: decomposition.TruncatedSVD(v), 2),
    "WeightCells.__init__ endurance": (
        lambda v: train.WeightCells(DEVICE, (2, 2), endurance=v), 9,
    ),
    "WeightCells.__init__ granularity": (
        lambda v: train.WeightCells(DEVICE, (2, 2), granularity=v), 0.1,
    ),
    "WeightCells.__init__ seed": (lambda v: train.WeightCells(DEVICE, (2, 2), seed=v), 9),
    "WeightCells.shift_reference sigma": (
        lambda v: train.WeightCells(DEVICE, (2, 2)).shift_reference(sigma=v), 0.1,
    ),
    "_Conv.__init__ groups": (lambda v: mho.nn.Conv2d(2, 2, 1, groups=v, hardware=HARDWARE), 1),
    "_Conv.__init__ in_channels": (lambda v: mho.nn.Conv1d(v, 2, 1, hardware=HARDWARE), 2),
    "_Conv.__init__ out_channels": (lambda v: mho.nn.Conv3d(2, v, 1, hardware=HARDWARE), 2),
    "_Conv.__init__ seed": (lambda v: mho.nn.Conv2d(2, 2, 1, hardware=HARDWARE, seed=v), 2),
    "_ConvTranspose.__init__ groups": (
        lambda v: mho.nn.ConvTranspose2d(2, 2, 1, groups=v, hardware=HARDWARE), 1,
    ),
    "_ConvTranspose.__init__ seed": (
        lambda v: mho.nn.ConvTranspose2d(2, 2, 1, hardware=HARDWARE, seed=v), 2,
    ),
    "age reads": (lambda v: mho.age(MODEL, 1.0, reads=v), 1.0),
    "age seconds": (lambda v: mho.age(MODEL, v), 1.0),
    "convert seed": (lambda v: mho.convert(plain(), HARDWARE, seed=v), 2),
    "cost samples": (
        lambda v: analysis.cost(MODEL, X, analysis.chips.generic_22nm(), samples=v), 8,
    ),
    "fabricate seed": (lambda v: mho.fabricate(model(), v), 2),
    "fit batch": (lambda v: fit(batch=v), 8),
    "fit epochs": (lambda v: fit(epochs=v), 1),
    "fit seed": (lambda v: fit(seed=v), 2),
    "hessian_directions count": (lambda v: hessian(count=v), 1),
    "hessian_directions seed": (lambda v: hessian(seed=v), 1),
    "layers vectors": (lambda v: analysis.layers(MODEL, X, vectors=v), 4),
    "limit_memory memory": (lambda v: mho.limit_memory(MODEL, v), 10**9),
    "maintain every": (lambda v: mho.maintain(MODEL, 2.0, every=v), 1.0),
    "maintain seconds": (lambda v: mho.maintain(MODEL, v, every=1.0), 1.0),
    "place seed": (lambda v: Chip(64, 64, HARDWARE).place(model(), seed=v), 2),
    "program_crossbar seed": (
        lambda v: programming.program_crossbar(crossbar(), torch.rand(4, 3), QUICK, seed=v), 2,
    ),
    "programming_signal count": (lambda v: train_of_pulses(count=v), 2),
    "programming_signal duration": (lambda v: train_of_pulses(duration=v), 1e-6),
    "programming_signal resolution": (lambda v: train_of_pulses(resolution=v), 1e-7),
    "random_direction seed": (lambda v: analysis.random_direction(plain(), seed=v), 2),
    "search_code bits": (lambda v: search_code(torch.rand(3, 3), v), 4),
    "search_code distance": (lambda v: search_code(torch.rand(3, 3), 4, distance=v), 1),
    "search_code seed": (lambda v: search_code(torch.rand(3, 3), 4, seed=v), 1),
    "sweep chips": (lambda v: swept(chips=v), 1),
    "sweep seed": (lambda v: swept(seed=v), 1),
    "write_verify seed": (
        lambda v: programming.write_verify(DEVICE.fabricate((2,)), 5e-5, QUICK, seed=v), 2,
    ),
}  # fmt: skip
WRONG = (math.nan, math.inf, -math.inf, 10**400, True, "3", 1j, object(), -2)
TAKEN = {
    "Embedding.__init__ padding_idx": (-2,),  # counted from the end
    "StreamingBatchPCA.__init__ carry": (math.inf,),  # all of the past
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_numbers_of_numpy_and_torch_are_taken_and_all_else_is_refused_by_name(name):
    call, good = CALLS[name]
    call(good)
    call(torch.tensor(good))
    call(np.array(good)[()])
    parameter = name.split()[1].removesuffix("s")
    for wrong in WRONG:
        if wrong in TAKEN.get(name, ()):
            continue
        with pytest.raises((TypeError, ValueError), match=parameter):
            call(wrong)
