"""What a pairwise covering chooses from: small hardware, small layers, and what is done to them."""

import copy

import torch
from torch import nn
from torch.distributions import LogNormal, Normal

import mho
from mho import ADC, DAC, Amplifier, Array, PulseWidth, effects
from mho.chip import Chip, Cores
from mho.circuit import Wires
from mho.devices import (
    MTJ,
    PCM,
    VTEAM,
    ConstantStep,
    ExponentialDevice,
    LinearDevice,
    ReRAMCMO,
    ReRAMWan,
    Spread,
    Yakopcic,
)
from mho.encoding import (
    LEA,
    Binary,
    BitSliced,
    Differential,
    InnerFaultTolerance,
    Redundant,
    Scaling,
    SingleColumn,
    Ternary,
    WeightedPairs,
)
from mho.periphery import SAR, DriverErrors, Flash, Ramp
from mho.programming import (
    Exact,
    OpenLoop,
    ProductDescent,
    Statistical,
    Successive,
    WriteVerify,
)

DEVICES = {
    "linear": LinearDevice(g_min=1e-6, g_max=1e-4),
    "from zero": LinearDevice(g_min=0.0, g_max=5e-5),
    "spread": LinearDevice(
        g_min=Spread(Normal(1e-6, 2e-7), low=1e-7, high=2e-6),
        g_max=Spread(LogNormal(-9.2, 0.1), low=5e-5),
    ),
    "pcm": PCM(),
    "wan": ReRAMWan(),
    "cmo": ReRAMCMO(),
    "exponential": ExponentialDevice(
        g_min=1e-6, g_max=1e-4, nonlinearity_set=1.0, nonlinearity_reset=-1.0, c2c=0.01, levels=30
    ),
    "step": ConstantStep(step=2e-6, d2d=0.1),
    "vteam": VTEAM(r_on=1e4, r_off=1e6),
    "yakopcic": Yakopcic(),
    "mtj": MTJ(),
}
ENCODINGS = {
    "differential": Differential,
    "digital": lambda scaling: Differential(scaling, subtract="digital"),
    "single": SingleColumn,
    "sliced": lambda scaling: BitSliced(scaling, bits=4, bits_per_cell=2),
    "ternary": Ternary,
    "redundant": lambda scaling: Redundant(Differential(scaling), copies=2),
    "added": lambda scaling: Redundant(SingleColumn(scaling), copies=2, add="analog"),
    "lea": lambda scaling: LEA(Differential(scaling), copies=3, best=2),
    "mirrors": lambda scaling: BitSliced(scaling, bits=4, bits_per_cell=2, add="analog"),
    "weighted": lambda scaling: WeightedPairs(scaling, (1.0, 2.5)),
    "uneven": lambda scaling: WeightedPairs(scaling, (1.0, 3.0, 7.0), levels=3, add="analog"),
    "offsets": lambda scaling: SingleColumn(scaling, group=2),
    "binary": Binary,
    "compared": lambda scaling: Binary(scaling, compared=True),
    "compared trits": lambda scaling: Ternary(scaling, compared=True),
    "tolerant": lambda scaling: InnerFaultTolerance(Differential(scaling), copies=3),
}
SCALINGS = {
    "largest": Scaling(),
    "columns": Scaling(per_column=True),
    "percentile": Scaling(percentile=90.0, per_column=True),
}
WIRES = Wires(source=5.0, word=1.0, bit=1.0, sense=5.0)
ARRAYS = {
    "large": Array(),
    "tiles": Array(4, 6),
    "interleaved": Array(8, 16, interleaved=True),
    "wires": Array(8, 8, wires=WIRES),
    "whole lines": Array(8, 8, wires=WIRES, whole_lines=True),
    "wires between": Array(6, 12, wires=WIRES, interleaved=True),
}
DACS = {
    "none": None,
    "bits": DAC(6),
    "known range": DAC(5, range=2.0),
    "per call": DAC(6, range="per_call"),
    "unsigned": DAC(5, signed=False),
    "serial": DAC(4, mode="bit_serial"),
    "twos": DAC(4, mode="bit_serial", code="twos_complement", range="per_vector"),
    "once": DAC(4, mode="bit_serial", converts_once=True),
    "pulses": DAC(5, mode="pulse_width"),
    "pulse parts": DAC(
        5, mode="pulse_width", pulses=PulseWidth(signs="two_phase", split=(2, 2), jitter=1e-10)
    ),
    "mismatched": DAC(
        6,
        errors=DriverErrors(
            gain=Spread(Normal(1.0, 0.05)), offset=Spread(Normal(0.0, 0.02)), inl=(0.0, 0.1)
        ),
    ),
    "uneven pulses": DAC(4, mode="bit_serial", errors=DriverErrors(gain=Spread(Normal(1.0, 0.05)))),
}
ADCS = {
    "none": None,
    "uniform": ADC(6),
    "linear": ADC(7, method="linear"),
    "full scale": ADC(9, range="full_scale"),
    "per vector": ADC(6, range="per_vector"),
    "per call": ADC(6, range="per_call", method="tanh"),
    "log": ADC(7, method="log"),
    "minmax": ADC(6, method="minmax", range="per_vector"),
    "log minmax": ADC(6, method="log_minmax", range="per_vector"),
    "sign": ADC(1),
    "one side": ADC(7, rest=0.2),
    "built": ADC(
        6,
        architecture=SAR(
            gain=Spread(Normal(1.0, 0.03)), capacitor_sigma=0.05, comparator_sigma=0.02
        ),
    ),
    "shared": ADC(
        7,
        method="linear",
        range="per_vector",
        architecture=Ramp(noise=0.003, capacitor_sigma=0.05, comparator_sigma=0.02),
        columns_per_adc=2,
    ),
    "comparator": ADC(1, architecture=Flash(comparator_sigma=0.02)),
}
AMPLIFIERS = {
    "none": None,
    "even": Amplifier(gain=0.9, offset=1e-7, compression=2e3),
    "spread": Amplifier(
        gain=Spread(Normal(1.0, 0.05), low=0.5), offset=Spread(Normal(0.0, 2e-7)), noise=1e-8
    ),
    "shared": Amplifier(noise=1e-8, shared_noise=5e-8, gain_noise=0.01),
    "saturating": Amplifier(gain=0.95, saturation=4e-5),
}
EFFECTS = {
    "none": (),
    "stuck": (effects.StuckAt(low=0.05, high=0.05),),
    "writing": (effects.WriteNoise(0.03), effects.FiniteStates(9)),
    "cycles": (
        effects.CycleVariability(
            r_on=Spread(LogNormal(9.2, 0.1)), r_off=Spread(LogNormal(13.0, 0.2))
        ),
    ),
    "drift": (effects.PowerLawDrift(0.06, nu_spread=0.02), effects.WriteNoise(0.02, "value")),
    "even drift": (effects.PowerLawDrift(0.05),),
    "retention": (
        effects.PowerLawDrift(0.03),
        effects.Retention(lrs=effects.FailureLaw(p0=Spread(LogNormal(5.0, 1.0)), stable=2e6)),
    ),
    "endurance": (effects.Endurance(lrs=effects.FailureLaw(p0=1e4, p2=1.0, p3=0.1), cycles=1e6),),
    "reading": (effects.ReadNoise(0.02), effects.ReadNoise(0.02, "value")),
    "telegraph": (effects.TelegraphNoise(0.1, fraction=0.3), effects.StuckAt(low=0.1)),
    "access": (effects.AccessResistance(2e3), effects.ReadNoise(0.02, "value")),
    "lasting": (effects.TelegraphNoise(0.1, occupancy=0.3, tau=3600.0, traps=2),),
    "relaxation": (
        effects.Relaxation(mean=-0.1e-6, spread=0.05e-6, start=(0.1e-6, 0.3e-6)),
        effects.ReadDisturb(1e4, shape=0.7),
    ),
    "disturb": (effects.ReadDisturb(Spread(LogNormal(9.0, 0.5)), toward="low"),),
    "warm": (effects.Temperature(350.0, coefficient=1e-3, activation_energy=0.05),),
}
NO_STRENGTH = (
    effects.StuckAt(),
    effects.WriteNoise(0.0),
    effects.WriteNoise(0.0, "value"),
    effects.PowerLawDrift(0.0),
    effects.Retention(),
    effects.Endurance(),
    effects.ReadNoise(0.0),
    effects.TelegraphNoise(0.0),
    effects.TelegraphNoise(0.0, tau=10.0),
    effects.Relaxation(),
    effects.ReadDisturb(1e4, net=0.0),
    effects.Temperature(300.0),
    effects.AccessResistance(0.0),
)
PROGRAMMING = {
    "own": None,
    "exact": Exact(),
    "statistical": Statistical(),
    "open loop": OpenLoop(),
    "verified": WriteVerify(max_pulses=60, on_failure="report"),
    "coded": WriteVerify(
        max_pulses=60, on_failure="report", hadamard=4, reads=2, read_noise=0.003, read_step=0.001
    ),
    "in turn": Successive(),
    "product": ProductDescent(max_rounds=20, batch=16),
}


class Bare(nn.Module):
    """A crossbar outside of layers."""

    def __init__(self, hardware, seed):
        super().__init__()
        self.matrix = mho.Crossbar(7, 5, hardware, seed=seed)
        self.matrix.program(torch.linspace(-1, 1, 35).view(5, 7).T.contiguous())

    def forward(self, x):
        if self.training:
            return self.matrix.read_through(x, self.matrix.weight.detach())
        return x @ self.matrix


class Cell(nn.Module):
    """A recurrent cell, two steps of it."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(4, 3)

    def forward(self, x):
        return self.cell(x[:, 1], self.cell(x[:, 0]))


class Last(nn.Module):
    """An LSTM's outputs."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x):
        return self.lstm(x)[0]


class Attention(nn.Module):
    """Self-attention's outputs."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


class Pair(nn.Module):
    """A bilinear layer whose inputs are parts of one vector."""

    def __init__(self):
        super().__init__()
        self.both = nn.Bilinear(4, 3, 2)

    def forward(self, x):
        return self.both(*x.split((4, 3), dim=-1))


LAYERS = {
    "linear": (lambda: nn.Linear(7, 5), (7,)),
    "no bias": (lambda: nn.Linear(7, 5, bias=False), (7,)),
    "two": (lambda: nn.Sequential(nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 3)), (7,)),
    "conv": (lambda: nn.Conv2d(2, 4, 3, padding=1), (2, 4, 4)),
    "groups": (lambda: nn.Conv2d(4, 6, 2, groups=2), (4, 3, 3)),
    "up": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, groups=2), (4, 2, 3)),
    "attention": (Attention, (3, 4)),
    "pair": (Pair, (7,)),
    "lstm": (Last, (2, 4)),
    "cell": (Cell, (2, 4)),
    "bare": (None, (7,)),
}


def built(layer, hardware, seed):
    """Return a model on crossbars, in eval mode."""
    make, _ = LAYERS[layer]
    if make is None:
        return Bare(hardware, seed).eval()
    torch.manual_seed(5)
    return mho.convert(make(), hardware, seed=seed).eval()


def given(layer, batch=5):
    """Return inputs, some of them zero."""
    x = torch.randn(batch, *LAYERS[layer][1], generator=torch.Generator().manual_seed(11))
    x[1] = 0.0
    return x


def hardware_of(case):
    """Return the hardware of a case; it may be refused."""
    return mho.Hardware(
        device=DEVICES[case["device"]],
        encoding=ENCODINGS[case["encoding"]](SCALINGS[case["scaling"]]),
        array=ARRAYS[case["array"]],
        dac=DACS[case["dac"]],
        adc=ADCS[case["adc"]],
        amplifier=AMPLIFIERS[case.get("amplifier", "none")],
        effects=EFFECTS[case["effects"]],
        programming=PROGRAMMING[case["programming"]],
        bias=case["bias"],
    )


# ── actions: each takes a model and inputs, and may return another model ─────────────────────


def _train(model, x):
    model.train()
    parameters = list(model.parameters())
    if parameters:
        optimizer = torch.optim.SGD(parameters, lr=1e-3)
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    model.eval()
    mho.program(model)


def _learn(model, x):
    mho.calibrate(model, x)
    for crossbar in mho.crossbars(model).values():
        try:
            crossbar.learn_ranges()
        except ValueError:
            continue
        crossbar.range_shift.data += 0.05


def _place(model, x):
    hardware = next(iter(mho.crossbars(model).values())).hardware
    dtype = next(iter(mho.crossbars(model).values())).G.dtype
    Chip(120, 120, hardware, seed=3, dtype=dtype).place(model)
    mho.age(model, 7.0)


def _map(model, x):
    crossbars = mho.crossbars(model).values()
    first = next(iter(crossbars))
    tile = first.hardware.array
    cores = Cores(
        count=200,
        rows=min(tile.rows, 40),
        cols=min(tile.cols, 64),
        arrays=max(c.hardware.encoding.slices for c in crossbars),
    )
    chip = Chip(cores=cores, hardware=first.hardware, seed=3, dtype=first.G.dtype)
    chip.place(model, "packed")
    mho.age(model, 7.0)


def _store(model, x):
    for crossbar in mho.crossbars(model).values():
        crossbar.store(crossbar.G * 0.97, scale=crossbar.scale * 1.1)


def _pass_hours(model, x):
    mho.age(model, 3600.0)


def _serve(model, x):
    counts = any(c.cells.counts_reads for c in mho.crossbars(model).values())
    mho.age(model, 10.0, reads=3000 if counts else 0)
    mho.age(model, 1000.0, reads=2000 if counts else 0)


def _compensate(model, x):
    mho.age(model, 3600.0)
    mho.compensate(model, "column")


def _calibrate(model, x):
    mho.calibrate(model, [x[:2], x[2:]])


def _fabricate(model, x):
    mho.fabricate(model, 9)


ACTIONS = {
    "nothing": lambda model, x: None,
    "program": lambda model, x: mho.program(model),
    "age": _pass_hours,
    "serve": _serve,
    "compensate": _compensate,
    "maintain": lambda model, x: mho.maintain(model, 100.0, every=40.0),
    "calibrate": _calibrate,
    "fabricate": _fabricate,
    "place": _place,
    "cores": _map,
    "store": _store,
    "train": _train,
    "learn": _learn,
    "double": lambda model, x: model.double(),
    "copy": lambda model, x: copy.deepcopy(model),
}
CHOICES = {
    "device": tuple(DEVICES),
    "encoding": tuple(ENCODINGS),
    "scaling": tuple(SCALINGS),
    "array": tuple(ARRAYS),
    "dac": tuple(DACS),
    "adc": tuple(ADCS),
    "amplifier": tuple(AMPLIFIERS),
    "effects": tuple(EFFECTS),
    "programming": tuple(PROGRAMMING),
    "bias": ("digital", "array"),
    "layer": tuple(LAYERS),
    "action": tuple(ACTIONS),
}


USUAL = {
    "device": "linear",
    "encoding": "differential",
    "scaling": "largest",
    "array": "tiles",
    "dac": "bits",
    "adc": "uniform",
    "amplifier": "none",
    "effects": "writing",
    "programming": "own",
    "bias": "digital",
}
"""Converters, tiles and write noise; what a case of a test does not say."""
