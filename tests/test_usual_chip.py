"""A usual chip, simulated a second time: NumPy, float64, tile by tile and plane by plane.

Bit-serial signed inputs, bit-sliced differential cells, tiles, and an ADC at every line. Nothing of
the package computes here: the references know the stored conductances and the numbers of the spec.
Written cells are a little off their levels, so that no current lies where rounding is undecided.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mho
from mho.core import random
from mho.encoding import BitSliced, Differential

DOUBLE = torch.float64
OFF = mho.effects.WriteNoise(0.003)
BUDGETS = (None, 3000)  # bytes: in one piece, in the smallest blocks


def chip_of(mode="bit_serial", dac="calibrated", adc="calibrated", encoding=None, **more):
    return mho.Hardware(
        encoding=encoding or BitSliced(bits=6, bits_per_cell=2),
        array=mho.Array(rows=7, cols=5),
        dac=mho.DAC(bits=5, mode=mode, range=dac, **more),
        adc=mho.ADC(bits=6, range=adc),
        effects=(OFF,),
    )


TWOS = {"code": "twos_complement"}
CHIPS = {
    "serial": chip_of(),
    "twos complement": chip_of(dac="per_vector", adc="per_vector", **TWOS),
    "serial per call": chip_of(dac="per_call", adc="per_call"),
    "converts once": chip_of(dac="per_vector", adc="per_vector", converts_once=True),
    "once in twos complement": chip_of(adc="full_scale", converts_once=True, **TWOS),
    "amplitude": chip_of("amplitude", encoding=Differential()),
    "amplitude, subtracted digitally": chip_of(
        "amplitude", "per_call", "per_vector", Differential(subtract="digital")
    ),
    "unsigned": chip_of("bit_serial", 1.5, 2e-5, signed=False),
}


# ── the reference ────────────────────────────────────────────────────────────────────────────


def pulses(level, dac):
    """What is sent, one pulse after the other: its weight in the digital sum, and its levels."""
    if dac.mode == "amplitude":
        return [(1.0, level)]
    whole, twos = level.astype(np.int64), dac.signed and dac.code == "twos_complement"
    count = dac.bits if twos or not dac.signed else dac.bits - 1
    sent = []
    for k in range(count):
        if twos:
            bit = (np.where(whole < 0, whole + 2**count, whole) >> k) & 1
            sent.append((-(2.0**k) if k == count - 1 else 2.0**k, bit.astype(float)))
        else:
            sent.append((2.0**k, np.sign(level) * ((np.abs(whole) >> k) & 1)))
    return sent


def reference(x, crossbar, first=0, last=None):
    """Read ``x [vectors, rows]`` on some rows of a crossbar, ``[vectors, cols]``."""
    hardware, g = crossbar.hardware, crossbar.G.detach().numpy()[:, first:last]
    dac, adc, encoding, height = hardware.dac, hardware.adc, hardware.encoding, hardware.array.rows
    x = x.reshape(-1, x.shape[-1]).numpy()
    if isinstance(encoding, BitSliced):
        seen = [(4.0**k, g[2 * k] - g[2 * k + 1]) for k in range(len(g) // 2)]
    else:
        digital = encoding.subtract == "digital"
        seen = [(1.0, g[0]), (-1.0, g[1])] if digital else [(1.0, g[0] - g[1])]
    top = 2 ** (dac.bits - 1) - 1 if dac.signed else 2**dac.bits - 1
    own = np.abs(x).max(1, keepdims=True) + 1e-300
    known = float(crossbar.input_range)
    limit = {"per_call": own.max(), "per_vector": own}.get(dac.range, dac.range)
    if isinstance(limit, str):  # calibrated; until then of every vector
        limit = own if math.isnan(known) else known
    level = np.clip(np.round(x * top / limit), -top if dac.signed else 0, top)
    sent = pulses(level, dac)
    volt = dac.v_max / (top if dac.mode == "amplitude" else 1.0)
    currents: dict[Any, Any] = {}
    for p, (weight, pulse) in enumerate(sent):
        for t in range(0, x.shape[1], height):
            for k, (_, matrix) in enumerate(seen):
                current = volt * pulse[:, t : t + height] @ matrix[t : t + height]
                if dac.converts_once:
                    joint = currents.get((0, t, k), 0.0)
                    currents[0, t, k] = joint + current * weight / top
                else:
                    currents[p, t, k] = current
    weights = [top] if dac.converts_once else [weight for weight, _ in sent]
    steps = 2 ** (adc.bits - 1) - 1
    total = 0.0
    for (p, _, k), current in currents.items():
        step = full_scale(crossbar, currents, k, x.shape[1]) / steps
        converted = np.clip(np.round(current / step), -steps, steps) * step
        total = total + weights[p] * seen[k][0] * converted
    return total * (limit / (volt * top)) * crossbar.scale.detach().numpy()


def full_scale(crossbar, currents, k, rows):
    adc, hardware = crossbar.hardware.adc, crossbar.hardware
    if isinstance(adc.range, float):
        return adc.range
    if adc.range == "full_scale":
        low, high = hardware.device.window
        return (high - low) * hardware.dac.v_max * min(hardware.array.rows, rows)
    if adc.range == "calibrated" and not crossbar.adc_range.isnan().any():
        return float(crossbar.adc_range[k])
    if adc.range == "per_call":
        return max(np.abs(c).max() for c in currents.values())
    own = [np.abs(c).max(1, keepdims=True) for (_, _, i), c in currents.items() if i == k]
    return np.max(own, 0) + 1e-300


def agree(analog, expected, *inputs, budgets=BUDGETS):
    for budget in budgets:
        if budget:
            mho.limit_memory(analog, budget)
        for follows in (False, True):
            given = [
                x.clone().requires_grad_(follows) if x.is_floating_point() else x for x in inputs
            ]
            with torch.set_grad_enabled(follows):
                y = analog(*given)
            y = (y[0] if isinstance(y, tuple) else y).detach().numpy()
            np.testing.assert_allclose(y, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


def put(layer, hardware, *watched, **options):
    analog = mho.convert(layer, hardware, seed=2, **options).eval()
    if watched:
        mho.calibrate(analog, *watched, correct=False)
    return analog


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


# ── values ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", CHIPS)
def test_a_matrix_is_read_as_the_chip_would(name):
    layer, x = nn.Linear(24, 6).double(), torch.randn(13, 24, dtype=DOUBLE)
    analog = put(layer, CHIPS[name], torch.randn(40, 24, dtype=DOUBLE))
    agree(analog, reference(x, analog.crossbar) + layer.bias.detach().numpy(), x)


@pytest.mark.parametrize("name", ["serial", "serial per call", "amplitude"])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups", "mode"),
    [(1, 1, 1, 1, "zeros"), (2, 2, 1, 2, "zeros"), ((2, 1), (0, 2), (1, 2), 1, "reflect")],
)
def test_a_convolution_reads_its_patches(name, stride, padding, dilation, groups, mode):
    hardware = CHIPS[name]
    if groups > 1 and hardware.adc.range != "calibrated":
        pytest.skip("ranges that follow the currents are those of all groups together")
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    layer = nn.Conv2d(4, 8, (3, 2), padding_mode=mode, **options).double()
    x = torch.randn(3, 4, 9, 8, dtype=DOUBLE)
    analog = put(layer, hardware, torch.randn(4, 4, 9, 8, dtype=DOUBLE))
    (sy, sx), (py, px), (dy, dx) = layer.stride, layer.padding, layer.dilation
    padded = F.pad(x, (px, px, py, py), mode="constant" if mode == "zeros" else mode)
    high, wide = padded.shape[2:]
    places = [(i, j) for i in range(0, high - 2 * dy, sy) for j in range(0, wide - dx, sx)]
    cut = [padded[:, :, i : i + 2 * dy + 1 : dy, j : j + dx + 1 : dx] for i, j in places]
    patches = torch.stack(cut, 1).reshape(-1, groups, 4 // groups * 6)  # [batch · places, …]
    rows = patches.shape[-1]
    found = [
        reference(patches[:, k], analog.crossbar, k * rows, (k + 1) * rows) for k in range(groups)
    ]
    shape = (3, (high - 2 * dy - 1) // sy + 1, (wide - dx - 1) // sx + 1, 8)
    expected = np.concatenate(found, 1).reshape(shape) + layer.bias.detach().numpy()
    agree(analog, expected.transpose(0, 3, 1, 2), x)


@pytest.mark.parametrize("name", ["serial", "converts once", "amplitude, subtracted digitally"])
@pytest.mark.parametrize(
    ("stride", "padding", "more", "dilation"),
    [(2, 1, 1, 1), (3, 0, 2, 2), ((1, 2), (1, 0), (0, 1), 1)],
)
def test_a_transposed_convolution_spreads_what_every_pixel_reads(
    name, stride, padding, more, dilation
):
    options = {"stride": stride, "padding": padding, "output_padding": more, "dilation": dilation}
    layer, x = nn.ConvTranspose2d(4, 6, (3, 2), **options).double(), torch.randn(3, 4, 5, 4)
    x = x.double()
    analog = put(layer, CHIPS[name], torch.randn(4, 4, 5, 4, dtype=DOUBLE))
    taps = reference(x.permute(0, 2, 3, 1).reshape(-1, 4), analog.crossbar)
    taps = taps.reshape(3, 5, 4, 3, 2, 6)
    (sy, sx), (py, px), (dy, dx) = layer.stride, layer.padding, layer.dilation
    whole = np.zeros((3, 6, 40, 40))
    for i, j, ki, kj in np.ndindex(5, 4, 3, 2):
        whole[:, :, i * sy + ki * dy, j * sx + kj * dx] += taps[:, i, j, ki, kj]
    high, wide = layer(x).shape[2:]
    expected = whole[:, :, py : py + high, px : px + wide]
    agree(analog, expected + layer.bias.detach().numpy()[:, None, None], x)


@pytest.mark.parametrize("name", ["serial", "twos complement", "amplitude"])
def test_attention_bilinear_and_tables(name):
    hardware = CHIPS[name]
    layer = nn.MultiheadAttention(12, 3, kdim=10, vdim=9, batch_first=True).double().eval()
    given = [torch.randn(2, *size, dtype=DOUBLE) for size in ((5, 12), (6, 10), (6, 9))]
    analog: Any = put(layer, hardware)
    heads = []
    for part, x, bias in zip("qkv", given, layer.in_proj_bias.chunk(3), strict=True):
        y = reference(x, getattr(analog, f"crossbar_{part}")) + bias.detach().numpy()
        heads.append(y.reshape(2, -1, 3, 4).transpose(0, 2, 1, 3))
    q, k, v = heads
    shares = np.exp(q @ k.transpose(0, 1, 3, 2) / 2)
    mixed = shares / shares.sum(-1, keepdims=True) @ v
    mixed = torch.from_numpy(mixed.transpose(0, 2, 1, 3).reshape(2, 5, 12))
    expected = reference(mixed, analog.out_proj.crossbar).reshape(2, 5, 12)
    agree(analog, expected + layer.out_proj.bias.detach().numpy(), *given)

    layer = nn.Bilinear(9, 4, 5).double()
    x, y = torch.randn(11, 9, dtype=DOUBLE), torch.randn(11, 4, dtype=DOUBLE)
    analog = put(layer, hardware)
    columns = reference(x, analog.crossbar).reshape(11, 5, 4)
    expected = np.einsum("boj,bj->bo", columns, y.numpy()) + layer.bias.detach().numpy()
    agree(analog, expected, x, y)

    index = torch.randint(0, 23, (4, 5))
    one_hot = F.one_hot(index, 23).double()
    analog = put(nn.Embedding(23, 6).double(), hardware, embeddings=True)
    agree(analog, reference(one_hot, analog.crossbar).reshape(4, 5, 6), index)
    analog = put(nn.EmbeddingBag(23, 6).double(), hardware, embeddings=True)
    agree(analog, reference(one_hot.sum(1), analog.crossbar) / 5, index)


def test_a_tied_table_reads_a_column_from_the_word_lines():
    table, head = nn.Embedding(11, 18).double(), nn.Linear(18, 11, bias=False).double()
    head.weight = table.weight
    hardware = chip_of("amplitude", encoding=Differential())
    analog: Any = mho.convert(nn.Sequential(table, head), hardware, seed=2, embeddings=True).eval()
    crossbar, index = analog[1].crossbar, torch.arange(11)
    g = crossbar.G.detach().numpy()
    current = hardware.dac.v_max * (g[0] - g[1]).T  # every bit line driven alone: [entries, rows]
    step = np.abs(current).max(1, keepdims=True) / 31
    expected = np.round(current / step) * step * float(crossbar.scale) / hardware.dac.v_max
    np.testing.assert_allclose(analog[0](index).detach().numpy(), expected, atol=1e-12)


# ── gradients ────────────────────────────────────────────────────────────────────────────────


class Grid(torch.autograd.Function):
    """Rounds and clips; straight through where nothing was clipped."""

    @staticmethod
    def forward(ctx, x, top):
        ctx.save_for_backward(x.abs() <= top + 0.5)
        return x.round().clamp(-top, top)

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0], None


@pytest.mark.parametrize("adc", ["calibrated", "per_vector", "per_call"])
def test_gradients_of_a_read_in_blocks_are_those_of_autograd(adc):
    hardware = chip_of(adc=adc)
    layer, x = nn.Linear(24, 6).double(), torch.randn(13, 24, dtype=DOUBLE)
    analog = put(layer, hardware, torch.randn(9, 24, dtype=DOUBLE) * 0.8)
    crossbar, pull = analog.crossbar, torch.randn(13, 6, dtype=DOUBLE)

    ours = x.clone().requires_grad_()
    level = Grid.apply(ours * 15 / crossbar.input_range, 15)
    g, fixed, volt = crossbar.G, level.detach(), hardware.dac.v_max
    currents = {}
    for p in range(4):  # of Σ_p 2^p · plane_p = level each plane has its share of the gradient
        bit = ((fixed.abs().long() >> p) & 1) * fixed.sign()
        plane = volt * (bit + (level - fixed) * 2**p / (1 + 4 + 16 + 64))
        for t in range(0, 24, 7):
            for k in range(3):
                matrix = (g[2 * k] - g[2 * k + 1])[t : t + 7]
                currents[p, t, k] = plane[:, t : t + 7] @ matrix
    total = 0.0
    for (p, _, k), current in currents.items():
        of_k = torch.stack([c.detach().abs() for (_, _, i), c in currents.items() if i == k])
        all_of_them = torch.stack([c.detach().abs() for c in currents.values()])
        limit = {
            "calibrated": crossbar.adc_range[k],
            "per_vector": of_k.amax((0, 2)).unsqueeze(1),
            "per_call": all_of_them.max(),
        }[adc]
        total = total + 2**p * 4**k * Grid.apply(current * 31 / limit, 31) * limit / 31
    y = total * crossbar.input_range / (15 * volt) * crossbar.scale + layer.bias.detach()
    (y * pull).sum().backward()

    for budget in (10**9, 5000):
        mho.limit_memory(analog, budget)
        theirs = x.clone().requires_grad_()
        found = analog(theirs)
        torch.testing.assert_close(found, y, rtol=0, atol=1e-9)
        (found * pull).sum().backward()
        torch.testing.assert_close(theirs.grad, ours.grad, rtol=1e-9, atol=1e-12)


# ── noise ────────────────────────────────────────────────────────────────────────────────────


def noisy_chip(mode, encoding, **more):
    return mho.Hardware(
        encoding=encoding,
        array=mho.Array(rows=16),
        dac=mho.DAC(bits=8, mode=mode, range=1.0, **more),
        adc=mho.ADC(bits=24, range=1e-2),
        effects=(mho.effects.ReadNoise(0.02),),
    )


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("budget", [10**9, 6000])
@pytest.mark.parametrize(
    "hardware",
    [
        noisy_chip("amplitude", Differential()),
        noisy_chip("bit_serial", BitSliced(bits=8, bits_per_cell=2)),
        noisy_chip("bit_serial", BitSliced(bits=8, bits_per_cell=2), converts_once=True, **TWOS),
    ],
)
def test_read_noise_has_the_variance_of_its_cells(hardware, budget, kind):
    layer, x = nn.Linear(40, 6).to(kind), (torch.rand(20, 40) * 2 - 1).to(kind)
    analog = put(layer, hardware)
    mho.limit_memory(analog, budget)
    quiet = mho.noise_free(analog)(x).detach().double()
    with torch.no_grad():
        read = torch.stack([analog(x).double() for _ in range(40)])
    low, high = hardware.device.window
    level, dac = np.clip(np.round(x.double().numpy() * 127), -127, 127), hardware.dac
    power = sum(w**2 * (pulse**2).sum(1) for w, pulse in pulses(level, dac))
    cells = 2 * sum(d * d for d in hardware.encoding.digital)
    deviation = np.sqrt(power * cells) * 0.02 * (high - low) * float(analog.crossbar.scale) / 127
    z = (read - quiet).numpy() / deviation[:, None]
    count = z.size
    assert abs(z.mean()) < 4.5 / math.sqrt(count)
    assert abs((z**2).mean() - 1) < 4.5 * math.sqrt(2 / count) + 2e-3
    for one, other in ((z[1:], z[:-1]), (z[:, 1:], z[:, :-1]), (z[..., 1:], z[..., :-1])):
        assert abs((one * other).mean()) < 4.5 / math.sqrt(one.size)  # calls, vectors, outputs


# What passes converters is not worked out again; what is clipped, or off their grid, is.
CLIPPING = {
    "none": (mho.ADC(bits=24, range=1e-2), 0.0, 0.0),
    "some": (mho.ADC(bits=10, range=7e-5), 0.01, 0.99),
    "off the grid": (mho.ADC(bits=10, range=1e-2, method="log"), 1.0, 1.0),
}


@pytest.mark.parametrize("clipped", CLIPPING)
def test_what_a_backward_pass_works_out_again_has_the_noise_there_was(monkeypatch, clipped):
    adc, least, most = CLIPPING[clipped]
    hardware = noisy_chip("bit_serial", BitSliced(bits=8, bits_per_cell=2)).replace(adc=adc)
    analog = put(nn.Linear(40, 6), hardware)
    mho.limit_memory(analog, 6000)
    drawn, draw = [], random.normal_like

    def watched(like, rng):
        drawn.append(draw(like, rng))
        return drawn[-1]

    monkeypatch.setattr(random, "normal_like", watched)
    y = analog(torch.rand(20, 40).requires_grad_())
    forward = drawn.copy()
    y.sum().backward()
    again = drawn[len(forward) :]
    assert len(forward) > 4
    assert least * len(forward) <= len(again) <= most * len(forward)
    left = iter(forward)
    assert all(any(torch.equal(one, two) for two in left) for one in again)  # in their order
