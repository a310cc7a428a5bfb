"""Every way of reading by pulses: layers, blocks, transposed, training, graphs, dtypes."""

import copy

import pytest
import torch
from torch import nn
from torch.distributions import Normal

import mho
from mho import ADC, DAC, Amplifier, Array, Hardware, PulseWidth
from mho.circuit import Wires
from mho.crossbar import pulses
from mho.devices import Spread
from mho.effects import ReadNoise
from mho.periphery import DriverErrors
from pulse_chips import (
    READS,
    T_PULSE,
    V_MAX,
    WAYS,
    WIRES,
    made,
    pulsed,
    within,
)

F64 = torch.float64

# ── every way of reading ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dac", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(
    "adc", [ADC(6, range=1e-4), ADC(6, range="per_call")], ids=["fixed", "call"]
)
def test_large_reads_are_small_reads(dac, adc):
    """In blocks, tile by tile, and their gradients."""
    crossbar, _ = made(dac, 40, 6, adc=adc)
    x = 2 * torch.rand(300, 40, dtype=F64, generator=torch.Generator().manual_seed(1)) - 1
    x.requires_grad_()
    y = crossbar(x)
    (grad,) = torch.autograd.grad(y.square().sum(), x)
    mho.limit_memory(crossbar, 400_000)
    again = crossbar(x)
    torch.testing.assert_close(again, y)
    torch.testing.assert_close(torch.autograd.grad(again.square().sum(), x)[0], grad)
    with torch.no_grad():
        torch.testing.assert_close(crossbar(x), y)


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("dac", WAYS.values(), ids=WAYS)
def test_convolutions_are_reads_of_patches(dac, noise):
    torch.manual_seed(0)
    effects = (ReadNoise(1e-6),) if noise else ()  # which takes another way
    hardware = Hardware(dac=dac, adc=ADC(8, range=1e-4), array=Array(10, 8), effects=effects)
    layer = nn.Conv2d(3, 4, 3, padding=1).double()
    analog = mho.convert(layer, hardware, seed=0).eval()
    image = 2 * torch.rand(2, 3, 5, 6, dtype=F64) - 1
    (crossbar,) = mho.crossbars(analog).values()
    patches = nn.functional.unfold(image, 3, padding=1).mT
    expected = crossbar(patches) + layer.bias
    found = analog(image).flatten(2).mT
    # Noise may carry a current over the edge of a code.
    if noise:
        assert float((found - expected).abs().median()) < 1e-6 * float(expected.abs().max())
    else:
        torch.testing.assert_close(found, expected)


def test_jitter_of_convolutions_is_each_patchs_own():
    torch.manual_seed(0)
    layer = nn.Conv2d(1, 1, 2, bias=False).double()
    nn.init.ones_(layer.weight)
    analog = mho.convert(layer, Hardware(dac=pulsed(5, jitter=1e-9)), seed=0).eval()
    with torch.no_grad():
        y = analog(torch.ones(2000, 1, 2, 3, dtype=F64)).flatten(1)
    within(y.std(0), torch.full((2,), 2e-9 / T_PULSE, dtype=F64), reads=2000)
    assert abs(float(torch.corrcoef(y.mT)[0, 1])) < 4.5 / 2000**0.5


@pytest.mark.parametrize("dac", WAYS.values(), ids=WAYS)
def test_transposed_reads_send_one_whole_pulse(dac):
    crossbar, _ = made(dac, 6, 4)
    weight = (crossbar.G[0] - crossbar.G[1]) * crossbar.scale
    e = 2 * torch.rand(3, 4, dtype=F64, generator=torch.Generator().manual_seed(2)) - 1
    y = e @ crossbar.T
    level = (e / e.abs().amax(1, keepdim=True) * 15).round() / 15
    expected = level * e.abs().amax(1, keepdim=True) @ weight.mT
    loose = dac.pulses.exact and dac.pulses.full_charge is None
    assert float((y - expected).abs().max()) < (1e-9 if loose else 1.0)
    assert not dac.pulses.v_idle or not torch.equal(y, expected)


def test_transposed_noise_goes_by_lengths():
    crossbar, _ = made(pulsed(5), 6, 4, effects=(ReadNoise(0.02),))
    e = torch.tensor([[1.0, -0.2, 0.0, 0.4]], dtype=F64)
    with torch.no_grad():
        y = e.expand(READS, -1) @ crossbar.T
    low, high = crossbar.hardware.device.window
    lengths = (e * 15).round().abs().sum() / 15
    expected = 0.02 * (high - low) * (2 * lengths).sqrt() * crossbar.scale
    within(y.std(0), expected.expand(6))


def test_transposed_pulses_jitter_and_fill():
    e = torch.tensor([[1.0, -0.2, 0.0, 0.4]], dtype=F64)
    crossbar, _ = made(pulsed(5, jitter=0.5e-9), 6, 4)
    weight = (crossbar.G[0] - crossbar.G[1]) * crossbar.scale
    with torch.no_grad():
        y = e.expand(READS, -1) @ crossbar.T
    within(y.std(0), weight[:, [0, 1, 3]].square().sum(1).sqrt() * 0.5e-9 / T_PULSE)
    full, _ = made(pulsed(5, full_charge=1e-12), 6, 4)
    current = (e * 15).round() / 15 * V_MAX @ (full.G[0] - full.G[1]).mT
    assert float(current.abs().max()) * T_PULSE > 1.1e-12
    held = current.clamp(-1e-12 / T_PULSE, 1e-12 / T_PULSE)
    torch.testing.assert_close(e @ full.T, held * full.scale / V_MAX)


@pytest.mark.parametrize("bits", [4, None])
def test_patterns_last_until_the_end(bits):
    """Voltages times shares are the mean, also where no line is driven to the end."""
    dac = pulsed(bits, v_idle=0.1)
    size = torch.tensor([[1.0, -3.0, 0.0, 4.0], [2.0, 2.0, -5.0, 0.0]], dtype=F64)
    level = size if bits else size / 7
    found = list(pulses.patterns(level, dac))
    shares = sum(share for _, share in found)
    torch.testing.assert_close(
        torch.as_tensor(shares, dtype=F64).expand(2, 1), torch.ones(2, 1, dtype=F64)
    )
    mean = sum(v * share for v, share in found)
    expected = size / 7 * V_MAX + (1 - size.abs() / 7) * 0.1
    torch.testing.assert_close(mean, expected)


def test_floating_lines_are_refused_where_they_cannot_be_solved():
    crossbar, _ = made(pulsed(4, idle="floating"), wires=WIRES)
    with pytest.raises(ValueError, match="idle='driven'"):
        torch.ones(1, 3, dtype=F64) @ crossbar.T


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_read_by_pulses(name):
    torch.manual_seed(0)
    layer = getattr(nn, name)(4, 5, batch_first=True)
    x = torch.randn(2, 6, 4)
    read = {}
    for mode, sent in (("amplitude", None), ("pulse_width", PulseWidth())):
        dac = DAC(6, mode=mode, pulses=sent, range=2.0)
        analog = mho.convert(layer, Hardware(dac=dac, adc=ADC(8, range=1e-5)), seed=0).eval()
        read[mode] = analog(x)[0]
    torch.testing.assert_close(*read.values(), rtol=0, atol=0)
    dac = DAC(6, mode="pulse_width", pulses=PulseWidth(signs="two_phase", jitter=1e-9), range=2.0)
    noisy = mho.convert(layer, Hardware(dac=dac, effects=(ReadNoise(0.01),)), seed=0).eval()
    off = (noisy(x)[0] - layer(x)[0]).abs().max()
    assert 0 < float(off) < 0.5


@pytest.mark.parametrize("dac", WAYS.values(), ids=WAYS)
def test_embeddings_read_lines(dac):
    torch.manual_seed(0)
    layer = nn.Embedding(20, 6).double()
    analog = mho.convert(
        layer, Hardware(dac=dac, adc=ADC(8, range=1e-4)), seed=0, embeddings=True
    ).eval()
    (crossbar,) = mho.crossbars(analog).values()
    index = torch.tensor([3, 3, 0, 19])
    one_hot = nn.functional.one_hot(index, 20).to(F64)
    torch.testing.assert_close(analog(index), crossbar(one_hot))


# ── training, calibration, dtypes, graphs ────────────────────────────────────────────────────


@pytest.mark.parametrize("dac", WAYS.values(), ids=WAYS)
def test_gradients_pass_straight_through(dac):
    """Without a converter they are those of the weights that are read."""
    if dac.pulses.full_charge is not None:
        dac = dac.replace(pulses=dac.pulses.replace(full_charge=None))
    layer = nn.Linear(6, 3, bias=False).double()
    analog = mho.convert(layer, Hardware(dac=dac)).train()
    x = (1.6 * torch.rand(4, 6, dtype=F64) - 0.8).requires_grad_()
    with torch.no_grad():
        x[0, 0] = 0.0
    analog(x).sum().backward()
    tolerance = 0.1 if dac.pulses.v_idle else 1e-6  # lines that rest less
    expected = layer.weight.sum(0).expand(4, 6)
    assert float((x.grad - expected).abs().max()) < tolerance * float(layer.weight.abs().sum())
    assert analog.weight.grad is not None
    assert bool(analog.weight.grad.isfinite().all())


@pytest.mark.parametrize(
    "sent", [PulseWidth(), PulseWidth(jitter=2e-9), PulseWidth(signs="two_phase")]
)
def test_training_on_pulses_learns(sent):
    torch.manual_seed(0)
    dac = DAC(6, mode="pulse_width", pulses=sent)
    hardware = Hardware(dac=dac, adc=ADC(8), effects=(ReadNoise(0.01),))
    layer = mho.convert(nn.Linear(8, 4), hardware).train()
    x, target = torch.randn(64, 8), torch.randn(8, 4)
    optimizer = torch.optim.Adam(layer.parameters(), 0.05)
    losses = []
    for _ in range(60):
        loss = (layer(x) - x @ target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("dac", WAYS.values(), ids=WAYS)
def test_ranges_are_calibrated_in_amperes(dac):
    torch.manual_seed(0)
    dac = dac.replace(range="calibrated", pulses=dac.pulses.replace(full_charge=None))
    layer = nn.Linear(30, 10)
    analog = mho.convert(layer, Hardware(dac=dac, adc=ADC(10)), seed=0).eval()
    x = torch.randn(200, 30)
    mho.calibrate(analog, x)
    (crossbar,) = mho.crossbars(analog).values()
    largest = V_MAX * float(crossbar.G.sum(1).max())
    assert 0 < float(crossbar.adc_range) < largest
    exact = layer(x)
    assert float((analog(x) - exact).std()) < 0.2 * float(exact.std())


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("idle", ["driven", "floating"])
def test_half_precision(kind, idle):
    torch.manual_seed(0)
    dac = pulsed(5, idle=idle, jitter=1e-10)
    hardware = Hardware(dac=dac, array=Array(8, 8, wires=Wires(1.0, 1.0, 1.0, 1.0)), adc=ADC(8))
    layer = nn.Linear(12, 4)
    analog = mho.convert(layer, hardware, seed=0).eval()
    x = torch.rand(3, 12)
    wide = analog(x)
    found = analog.to(kind)(x.to(kind))
    assert found.dtype == kind
    assert float((found - wide).abs().max()) < 0.1 * float(wide.abs().max())
    assert analog(x[:0].to(kind)).shape == (0, 4)


@pytest.mark.parametrize("dac", [*WAYS.values(), pulsed(5, jitter=1e-9)], ids=str)
def test_compiled_reads_are_the_same(dac):
    torch.manual_seed(0)
    quiet = dac.replace(pulses=dac.pulses.without_noise)
    analog = mho.convert(nn.Linear(12, 4), Hardware(dac=quiet, adc=ADC(6, range=1e-4)), seed=0)
    x = torch.rand(3, 12) - 0.5
    torch.compiler.reset()
    for mode in (analog.eval(), copy.deepcopy(analog).train()):
        compiled = torch.compile(mode, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), mode(x))


def test_the_same_chip_from_its_file(tmp_path):
    dac = pulsed(6, split=(2, 3), signs="two_phase", jitter=1e-10, full_charge=1e-12)
    hardware = Hardware(dac=dac, adc=ADC(8))
    mho.save_hardware(hardware, tmp_path / "chip.yaml")
    assert mho.load_hardware(tmp_path / "chip.yaml") == hardware
    assert DAC.from_dict({"mode": "pulse_width"}).pulses == PulseWidth()
    old = DAC(6).to_dict()
    del old["pulses"]  # as saved before there were any
    assert DAC.from_dict(old) == DAC(6)
    first = mho.convert(nn.Linear(4, 3), hardware, seed=0).eval()
    second = mho.convert(nn.Linear(4, 3), hardware, seed=1).eval()
    second.load_state_dict(first.state_dict())
    x = torch.rand(2, 4)
    again = copy.deepcopy(first)
    torch.testing.assert_close(first(x), second(x), rtol=0, atol=0)
    again(x)
    torch.testing.assert_close(first(x), again(x), rtol=0, atol=0)


def test_amplifiers_take_mean_currents():
    parts = {"amplifier": Amplifier(offset=3e-6, gain=1.1), "adc": ADC(8, range=1e-4)}
    pulse, x = made(pulsed(4), **parts)
    amplitude, _ = made(DAC(4, v_max=V_MAX, range=1.0), **parts)
    torch.testing.assert_close(pulse(x), amplitude(x))


def test_what_drives_last():
    """Energy of bare cells from what is on the lines, and for how long: V² Σ t Σ G."""
    dac = pulsed(6, split=(2, 3), signs="two_phase")
    crossbar, x = made(dac)
    ranges = crossbar.reader.ranges
    volts, share = ranges.voltages(x), ranges.lasting(x)
    assert set(volts.unique().tolist()) <= {0.0, V_MAX}
    energy = (volts.square() * share * T_PULSE).sum(0) @ crossbar.G.sum((0, 2))
    level = (x * 31).round().abs()
    slots = (level % 4 + level // 4) * T_PULSE / 7
    wanted = V_MAX**2 * slots.sum(0) @ crossbar.G.sum((0, 2))
    torch.testing.assert_close(energy, wanted, rtol=1e-9, atol=0.0)
    assert made(DAC(4, range=1.0))[0].reader.ranges.lasting(x) is None


def test_drivers_differ_by_their_voltage():
    """A driver's gain is a factor on its line, whatever the length of the pulse."""
    gain = DriverErrors(gain=Spread(Normal(1.0, 0.1)))
    plain, x = made(pulsed(4, signs="two_phase"))
    crossbar, _ = made(pulsed(4, signs="two_phase").replace(errors=gain))
    of_lines = crossbar(torch.eye(6, dtype=F64)) / plain(torch.eye(6, dtype=F64))
    assert 0.02 < float(of_lines[:, 0].std()) < 0.3
    level = (x * 7).round() / 7
    weight = (crossbar.G[0] - crossbar.G[1]) * crossbar.scale
    torch.testing.assert_close(crossbar(x), level * of_lines[:, 0] @ weight)
    with pytest.raises(ValueError, match="gain alone"):
        pulsed(4).replace(errors=DriverErrors(offset=0.1))
    with pytest.raises(ValueError, match="with errors"):
        made(pulsed(4, idle="floating").replace(errors=gain), wires=WIRES)


def test_converters_with_errors_take_charges():
    adc = ADC(6, range=1e-4, architecture=mho.periphery.SAR(offset=Spread(Normal(0.0, 0.01))))
    read = [made(dac, adc=adc)[0] for dac in (pulsed(4), DAC(4, v_max=V_MAX, range=1.0))]
    x = made(pulsed(4))[1]
    torch.testing.assert_close(read[0](x), read[1](x))
    exact = made(pulsed(4), adc=ADC(6, range=1e-4))[0]
    assert not torch.equal(read[0](x), exact(x))


@pytest.mark.parametrize("v_idle", [0.0, 0.03])
@pytest.mark.parametrize("jitter", [0.0, 1e-9])
def test_intervals_between_ends_of_pulses_are_each_line_as_long_at_its_voltage(jitter, v_idle):
    """Driven for |level|/top of the time, idle for the rest, on every line; whole levels or not."""
    form = PulseWidth(t_pulse=T_PULSE, jitter=jitter, v_idle=v_idle)
    drive = DAC(4, v_max=V_MAX, mode="pulse_width", pulses=form)
    assert drive.top == 7
    level = torch.tensor([[3.0, -2.0, 0.0, 7.0], [-1.0, 4.0, 6.0, 4.0]], dtype=F64)
    if jitter:
        level = level + level.sign() * torch.tensor([[0.25, -0.5, 0.0, 0.125]], dtype=F64)
    driven, idle = torch.zeros_like(level), torch.zeros_like(level)
    whole = torch.zeros(2, 1, dtype=F64)
    for volts, share in pulses.patterns(level, drive):
        share = torch.as_tensor(share, dtype=F64)
        on = volts == level.sign() * V_MAX
        driven += torch.where(on & (level != 0), share, 0.0)
        idle += torch.where(on & (level != 0), 0.0, share)
        assert torch.equal(volts[~on], torch.full_like(volts[~on], v_idle))
        whole += share
    torch.testing.assert_close(driven, level.abs() / drive.top, rtol=1e-12, atol=1e-15)
    if v_idle:  # what idle lines see is told to the end, and after the last pulse too
        end = (level.abs() / drive.top).amax(-1, keepdim=True).clamp(min=1.0)
        torch.testing.assert_close(whole, end, rtol=1e-12, atol=0.0)
        wanted = torch.where(level != 0, end - driven, 0.0 * end)
        idle = torch.where(level != 0, idle, 0.0)
        torch.testing.assert_close(idle, wanted, rtol=1e-12, atol=1e-12)
