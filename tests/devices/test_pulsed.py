"""What every pulse-count device must obey."""

import copy
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal

from mho.cells.spread import Spread
from mho.core.spec import Spec
from mho.devices.exponential import ExponentialDevice
from mho.devices.pulsed import PulsedDevice
from mho.devices.steps import (
    ConstantStep,
    ExpStep,
    LinearStep,
    PiecewiseStep,
    PowStep,
    SoftBoundsDevice,
)
from mho.devices.tabular import JumpTable, TabularDevice

G_MIN, G_MAX = 2e-6, 50e-6
WINDOW = {"g_min": G_MIN, "g_max": G_MAX}
UP = JumpTable(g=(G_MIN, G_MAX), dg=(0.0, 1e-6, 3e-6), cdf=((0.0, 0.3, 1.0), (0.1, 0.8, 1.0)))
DOWN = JumpTable(g=(G_MIN, G_MAX), dg=(-3e-6, -1e-6, 0.0), cdf=((0.0, 0.3, 1.0), (0.0, 0.8, 1.0)))

CLOSED = [
    ExponentialDevice(**WINDOW, nonlinearity_set=2.4, nonlinearity_reset=-4.88, levels=60),
    ExponentialDevice(**WINDOW, nonlinearity_set=-9.0, nonlinearity_reset=9.0, levels=20),
    ExponentialDevice(**WINDOW, levels=30, levels_reset=50),
    ExponentialDevice(**WINDOW, nonlinearity_set=1.0, nonlinearity_reset=-1.0, d2d=0.5, levels=40),
    ConstantStep(**WINDOW, step=3e-6, asymmetry=0.1),
    LinearStep(**WINDOW, step=2e-6, slope_set=0.7, slope_reset=-0.4),
    LinearStep(**WINDOW, step=2e-6, slope_set=0.0, slope_reset=-1.0),
    SoftBoundsDevice(**WINDOW, step=1e-6, asymmetry=-0.2),
    SoftBoundsDevice(**WINDOW, step=40e-6),
    SoftBoundsDevice(
        g_min=Spread(Normal(2e-6, 2e-7), low=0.0),
        g_max=Spread(Normal(50e-6, 5e-6)),
        step=Spread(Normal(1e-6, 3e-7), low=1e-8),
        asymmetry=Spread(Normal(0.0, 0.05)),
    ),
]
LOOPED = [
    PowStep(**WINDOW, step=1e-6, exponent_set=1.7, exponent_reset=0.5),
    ExpStep(**WINDOW, step=1e-6, d2d=0.2),
    PiecewiseStep(**WINDOW, step=1e-6, factors_set=(0.5, 2.0, 0.1), factors_reset=(1.0, 0.0)),
    TabularDevice(UP, DOWN, **WINDOW, d2d=0.1),
]
ALL = CLOSED + LOOPED
NOISY = [
    ExponentialDevice(**WINDOW, nonlinearity_set=2.4, nonlinearity_reset=-4.88, c2c=0.035),
    *[device.replace(c2c=0.3) for device in (*CLOSED[4:8], *LOOPED)],
]


def name(device):
    return type(device).__name__


def start(cells, seed=1):
    torch.manual_seed(seed)
    low, high = cells.spec.window
    g = torch.rand(cells.shape, dtype=cells.g.dtype) * (high - low) + low
    cells.write(g)
    return cells.g.clone()


@pytest.mark.parametrize("device", CLOSED, ids=name)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 3e-6)])
def test_closed_form_is_n_single_pulses(device, dtype, tolerance):
    counts = torch.randint(-25, 26, (300,), generator=torch.Generator().manual_seed(3))
    at_once = device.fabricate((300,), seed=5, dtype=dtype)
    # Noise far below any digit: the way pulse by pulse, without the closed form.
    singly = device.replace(c2c=1e-30).fabricate((300,), seed=5, dtype=dtype)
    assert torch.equal(start(at_once), start(singly))
    at_once.pulse(counts)
    singly.pulse(counts)
    error = (at_once.g - singly.g).abs().max() / (G_MAX - G_MIN)
    assert error < tolerance
    assert torch.equal(at_once.writes, singly.writes)


@pytest.mark.parametrize("device", ALL, ids=name)
def test_direction_bounds_and_untouched_cells(device):
    cells = device.replace(c2c=0.0).fabricate((200,), dtype=torch.float64)
    before = start(cells)
    counts = torch.arange(200) % 3 - 1
    cells.pulse(counts)
    change = cells.g - before
    assert torch.equal(cells.g[counts == 0], before[counts == 0])
    if not isinstance(device, TabularDevice):  # measured medians may go either way
        assert (change[counts > 0] >= 0).all()
        assert (change[counts < 0] <= 0).all()
    for sign, bound in ((500, cells.parameter("g_max")), (-500, cells.parameter("g_min"))):
        cells.pulse(sign)
        assert (cells.g >= cells.parameter("g_min")).all()
        assert (cells.g <= cells.parameter("g_max")).all()
        if isinstance(device, (ExponentialDevice, ConstantStep)):
            assert torch.allclose(cells.g, torch.as_tensor(bound, dtype=torch.float64), atol=0.0)


@pytest.mark.parametrize("device", NOISY, ids=name)
def test_noisy_cells_stay_inside_their_bounds(device):
    cells = device.fabricate((500,), dtype=torch.float64)
    start(cells)
    cells.pulse(torch.randint(-20, 21, (500,), generator=torch.Generator().manual_seed(0)))
    assert (cells.g >= G_MIN).all()
    assert (cells.g <= G_MAX).all()


@pytest.mark.parametrize("device", NOISY, ids=name)
def test_seed_makes_the_bits_and_state_resumes_them(device):
    one, two = (device.fabricate((4, 5), seed=9) for _ in range(2))
    other = device.fabricate((4, 5), seed=10)
    for cells in (one, two, other):
        cells.pulse(7)
    assert torch.equal(one.g, two.g)
    assert not torch.equal(one.g, other.g)
    resumed = device.fabricate((4, 5), seed=123)
    resumed.load_state_dict(one.state_dict())
    copied = copy.deepcopy(one)
    for cells in (one, resumed, copied):
        cells.pulse(-3)
    assert torch.equal(one.g, resumed.g)
    assert torch.equal(one.g, copied.g)
    assert torch.equal(one.writes, resumed.writes)


@pytest.mark.parametrize("device", ALL + NOISY, ids=name)
def test_spec_round_trip(device):
    again = Spec.from_dict(device.to_dict())
    assert again == device
    assert hash(again) == hash(device)


def test_noise_of_many_pulses_accumulates_per_pulse():
    # A pulse multiplies the distance to the fixed point by q = e^(−k/levels) and adds σξ: after n
    # pulses the variance is σ²(1 − q^2n)/(1 − q²), the mean the noise-free curve.
    quiet = ExponentialDevice(
        g_min=0.0, g_max=1.0, nonlinearity_set=5.0, nonlinearity_reset=-5.0, levels=50
    )
    sigma, n, number = 0.005, 12, 40_000
    cells = quiet.replace(c2c=sigma).fabricate((number,), seed=2, dtype=torch.float64)
    cells.write(torch.tensor(0.3, dtype=torch.float64))
    cells.pulse(n)
    reference = quiet.fabricate((), dtype=torch.float64)
    reference.write(torch.tensor(0.3))
    reference.pulse(n)
    q = torch.exp(-torch.tensor(quiet.constants()["curvature_set"], dtype=torch.float64) / 50)
    variance = sigma**2 * (1 - q ** (2 * n)) / (1 - q**2)
    assert abs(cells.g.mean() - reference.g) < 4 * (variance / number).sqrt()
    assert abs(cells.g.var() / variance - 1) < 4 * (2 / number) ** 0.5


@pytest.mark.parametrize("sign", [1, -1])
def test_relative_noise_of_one_step(sign):
    number = 100_000
    device = SoftBoundsDevice(g_min=0.0, g_max=1.0, step=0.01, c2c=0.3)
    cells = device.fabricate((number,), seed=1, dtype=torch.float64)
    cells.write(torch.tensor(0.6))
    cells.pulse(sign)
    change = (cells.g - 0.6) * sign
    mean = 0.01 * (0.8 if sign > 0 else 1.2)
    assert abs(change.mean() - mean) < 4 * 0.3 * mean / number**0.5
    assert abs(change.std() / (0.3 * mean) - 1) < 4 / (2 * number) ** 0.5


@pytest.mark.parametrize("kind", [ExponentialDevice, ConstantStep])
def test_noise_itself_may_differ_from_cell_to_cell(kind):
    device = kind(**WINDOW, c2c=Spread(Normal(0.02, 0.01), low=0.0))
    cells = device.fabricate((50, 4000), seed=2, dtype=torch.float64)
    own = torch.linspace(0.001, 0.04, 50, dtype=torch.float64)
    cells.state_0_c2c = own[:, None].expand(50, 4000).clone()
    cells.write(torch.tensor(26e-6))
    cells.pulse(1)
    scale = (G_MAX - G_MIN) if kind is ExponentialDevice else device.step
    assert (cells.g.std(dim=1) / (own * scale) - 1).abs().max() < 5 / 8000**0.5


def test_writes_are_counted_and_survive_a_reset():
    cells = ConstantStep().fabricate((2, 3))
    cells.pulse(torch.tensor([1, -2, 0]))
    cells.pulse(4)
    cells.reset()
    assert cells.writes.tolist() == [[5, 6, 4], [5, 6, 4]]


def test_respond_shapes_and_direction():
    cells = SoftBoundsDevice(step=2e-6).fabricate((3,), dtype=torch.float64)
    response = cells.respond(20, cycles=2)
    assert response.shape == (2, 2, 3, 21)
    assert (response[0].diff(dim=-1) > 0).all()
    assert (response[1].diff(dim=-1) < 0).all()
    assert torch.equal(response[0, 1, :, 0], response[1, 0, :, -1])


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3)])
def test_odd_shapes(shape):
    for device in (*ALL, *NOISY):
        cells = device.fabricate(shape)
        cells.pulse(3)
        assert cells.conductance().shape == shape


@pytest.mark.parametrize("counts", [1.0, True, torch.ones(3), torch.ones(3, dtype=torch.bool)])
def test_counts_must_be_integers(counts):
    with pytest.raises(TypeError, match="counts must be integers"):
        ConstantStep().fabricate((3,)).pulse(counts)


def test_counts_must_fit_the_shape():
    with pytest.raises(ValueError, match=r"shape \[3\].*got \[4\]"):
        ConstantStep().fabricate((3,)).pulse(torch.ones(4, dtype=torch.int64))


@settings(max_examples=25, deadline=None)
@given(
    counts=st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=6),
    device=st.sampled_from(CLOSED),
)
def test_any_count_gives_a_conductance_in_the_window(counts, device):
    cells = device.fabricate((len(counts),), seed=0)
    cells.pulse(torch.tensor(counts))
    assert torch.isfinite(cells.g).all()
    assert (cells.g >= cells.parameter("g_min")).all()
    assert (cells.g <= cells.parameter("g_max")).all()


@dataclass(frozen=True)
class Halving(PulsedDevice):
    """A user's own device: each pulse goes half of the way that is left."""

    g_min: float = 0.0
    g_max: float = 1.0

    def change(self, g, up, cell):
        return torch.where(up, (cell["g_max"] - g) / 2, (cell["g_min"] - g) / 2)


def test_a_device_of_ones_own():
    cells = Halving().fabricate((2,), dtype=torch.float64)
    cells.pulse(torch.tensor([3, 1]))
    assert cells.g.tolist() == [0.875, 0.5]


def test_a_device_without_change_says_so():
    @dataclass(frozen=True)
    class Nothing(PulsedDevice):
        g_min: float = 0.0
        g_max: float = 1.0

    with pytest.raises(NotImplementedError, match="Nothing must define change"):
        Nothing().fabricate((1,)).pulse(1)
