"""The crossbar against a reference that reads cell by cell, and its life from cell to report."""

import copy
import itertools

import numpy as np
import pytest
import torch

import naive
from mho import ADC, DAC, Array, Crossbar, Hardware
from mho.devices import LinearDevice, Spread
from mho.effects import FiniteStates, PowerLawDrift, ReadNoise, StuckAt, WriteNoise
from mho.encoding import BitSliced, Differential, Scaling, SingleColumn, Ternary

ENCODINGS = {
    "differential": Differential(),
    "digital": Differential(Scaling(per_column=True), subtract="digital"),
    "single": SingleColumn(),
    "sliced": BitSliced(bits=6, bits_per_cell=2),
    "ternary": Ternary(),
}
DACS = {
    "none": None,
    "amplitude": DAC(4),
    "sign": DAC(1),
    "unsigned": DAC(3, signed=False),
    "serial": DAC(4, mode="bit_serial"),
    "twos": DAC(4, mode="bit_serial", code="twos_complement"),
    "serial_unsigned": DAC(3, mode="bit_serial", signed=False),
    "once": DAC(4, mode="bit_serial", converts_once=True),
}
METHODS = ("none", "uniform", "linear", "log", "minmax", "log_minmax", "tanh")
FORCE_TILES = ReadNoise(0.0)  # noise of size zero: the tiled path with nothing to separate paths

UNEVEN = WriteNoise(0.02)  # so that no current stands exactly between two levels


def programmed(rows, cols, hardware, seed=0, **kind):
    crossbar = Crossbar(rows, cols, hardware, seed=seed, dtype=torch.float64, **kind)
    groups = kind.get("groups", 1)
    source = torch.Generator().manual_seed(rows * 100 + cols)
    weight = torch.randn(groups * rows, cols, dtype=torch.float64, generator=source)
    crossbar.program(weight)
    return crossbar, weight


def close(found, wanted, rtol=1e-9):
    wanted = torch.as_tensor(wanted)
    size = wanted.abs().max().clamp(min=1e-30)
    return found.shape == wanted.shape and float((found - wanted).abs().max() / size) < rtol


def with_range(dac, policy):
    """Return a driver of another range policy; None is an ideal one."""
    return (dac or DAC()).replace(range=policy)


@pytest.mark.parametrize("policy", ["per_call", "per_vector"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dac", DACS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_read_is_the_naive_read(encoding, dac, method, policy):
    adc = None if method == "none" else ADC(5, range=policy, method=method)
    hardware = Hardware(
        encoding=ENCODINGS[encoding],
        array=Array(4, 3),
        dac=with_range(DACS[dac], policy),
        adc=adc,
        effects=(UNEVEN,),
    )
    crossbar, _ = programmed(10, 3, hardware)  # two whole tiles and a shorter one
    x = torch.randn(3, 10, dtype=torch.float64)
    wanted = naive.read(x, crossbar.G, crossbar.scale, hardware)
    assert close(x @ crossbar, wanted)


@pytest.mark.parametrize("policy", ["per_call", "per_vector"])
@pytest.mark.parametrize("method", METHODS[1:])
@pytest.mark.parametrize("dac", ["none", "serial"])
def test_silent_tiles_and_silent_inputs(dac, method, policy):
    adc = ADC(6, range=policy, method=method)
    dac = with_range(DACS[dac], policy)
    hardware = Hardware(array=Array(4, 3), dac=dac, adc=adc, effects=(UNEVEN,))
    crossbar, _ = programmed(10, 3, hardware)
    x = torch.randn(3, 10, dtype=torch.float64)
    x[:, 8:] = 0.0  # the last tile sees nothing
    x[1] = 0.0  # nor does anything see this sample
    y = x @ crossbar
    assert torch.isfinite(y).all()
    assert close(y, naive.read(x, crossbar.G, crossbar.scale, hardware))


@pytest.mark.parametrize("method", METHODS[1:])
def test_nothing_in_nothing_out(method):
    crossbar, _ = programmed(6, 3, Hardware(array=Array(4, 3), adc=ADC(6, method=method)))
    y = torch.zeros(2, 6, dtype=torch.float64) @ crossbar
    assert torch.equal(y, torch.zeros(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (2, 7), (8, 3), (9, 4)])
@pytest.mark.parametrize("array", [(1, 1), (4, 4), (3, 2), (100, 100)])
def test_any_matrix_on_any_tile(shape, array):
    hardware = Hardware(
        array=Array(*array), dac=DAC(6), adc=ADC(6, range="per_call"), encoding=SingleColumn()
    )
    crossbar, _ = programmed(*shape, hardware)
    x = torch.randn(4, shape[0], dtype=torch.float64)
    assert close(x @ crossbar, naive.read(x, crossbar.G, crossbar.scale, hardware))


@pytest.mark.parametrize("rows", [6, 3])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("dac", ["none", "amplitude", "serial", "once"])
def test_full_scale_range(encoding, dac, rows):
    hardware = Hardware(
        encoding=ENCODINGS[encoding],
        array=Array(4, 3),
        dac=DACS[dac],
        adc=ADC(9, range="full_scale"),
        effects=(UNEVEN,),
    )
    crossbar, _ = programmed(rows, 3, hardware)
    x = torch.randn(3, rows, dtype=torch.float64)
    g_min, g_max = 1e-6, 100e-6
    per_cell = g_max if encoding in ("digital", "single") else g_max - g_min
    full_scale = per_cell * 0.2 * min(rows, 4)
    wanted = naive.read(x, crossbar.G, crossbar.scale, hardware, full_scale=full_scale)
    assert close(x @ crossbar, wanted)


def test_full_scale_never_clips():
    hardware = Hardware(array=Array(4, 4), adc=ADC(12, range="full_scale"))
    crossbar = Crossbar(4, 2, hardware, dtype=torch.float64)
    crossbar.program(torch.tensor([[1.0, -1.0]] * 4).double())
    x = torch.ones(1, 4, dtype=torch.float64)
    assert torch.allclose(x @ crossbar, torch.tensor([[4.0, -4.0]]).double(), rtol=1e-3)


def test_fixed_ranges():
    hardware = Hardware(array=Array(3, 3), dac=DAC(5, range=1.5), adc=ADC(6, range=2e-5))
    crossbar, _ = programmed(7, 2, hardware)
    x = 2 * torch.randn(5, 7, dtype=torch.float64)  # some beyond the range: clipped
    wanted = naive.read(x, crossbar.G, crossbar.scale, hardware, limit=1.5, full_scale=2e-5)
    assert close(x @ crossbar, wanted)


def test_calibrated_ranges_are_per_vector_until_calibrated():
    base = {"array": Array(3, 3), "encoding": Differential(subtract="digital")}
    ranged = Hardware(dac=DAC(5), adc=ADC(6), **base)
    own = Hardware(dac=DAC(5, range="per_vector"), adc=ADC(6, range="per_vector"), **base)
    x = torch.randn(5, 7, dtype=torch.float64)
    one, two = (programmed(7, 2, hardware)[0] for hardware in (ranged, own))
    assert torch.equal(x @ one, x @ two)


def test_groups_are_matrices_side_by_side():
    hardware = Hardware(
        array=Array(3, 3), dac=DAC(5, range=2.0), adc=ADC(6, range=2e-5), encoding=SingleColumn()
    )
    crossbar, _ = programmed(5, 2, hardware, groups=3)
    x = torch.randn(4, 15, dtype=torch.float64)
    parts = [
        naive.read(
            x[:, 5 * k : 5 * k + 5],
            crossbar.G[:, 5 * k : 5 * k + 5],
            crossbar.scale,
            hardware,
            limit=2.0,
            full_scale=2e-5,
        )
        for k in range(3)
    ]
    assert close(x @ crossbar, np.concatenate(parts, axis=1))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("lead", [(), (1,), (0,), (2, 3), (2, 0, 3), (2, 1, 3, 2)])
@pytest.mark.parametrize("effects", [(), (FORCE_TILES,)], ids=["collapsed", "tiled"])
def test_any_leading_dimensions(encoding, lead, effects):
    hardware = Hardware(encoding=ENCODINGS[encoding], array=Array(4, 2), effects=effects)
    crossbar, _ = programmed(6, 3, hardware)
    x = torch.randn(*lead, 6, dtype=torch.float64)
    y = x @ crossbar
    assert y.shape == (*lead, 3)
    assert torch.allclose(y, x @ crossbar.weight)


@pytest.mark.parametrize("dac", [d for d in DACS if d != "none"])
def test_empty_batch_through_converters(dac):
    crossbar, _ = programmed(6, 3, Hardware(array=Array(4, 2), dac=DACS[dac], adc=ADC(5)))
    assert (torch.zeros(0, 6, dtype=torch.float64) @ crossbar).shape == (0, 3)
    assert (torch.zeros(0, 3, dtype=torch.float64) @ crossbar.T).shape == (0, 6)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("dac", ["none", "amplitude"])
def test_collapsed_and_tiled_agree(encoding, dac):
    kind = {"encoding": ENCODINGS[encoding], "array": Array(4, 3), "dac": DACS[dac]}
    collapsed, _ = programmed(10, 5, Hardware(**kind))
    tiled, _ = programmed(10, 5, Hardware(**kind, effects=(FORCE_TILES,)))
    assert collapsed.collapsed
    assert not tiled.collapsed
    x = torch.randn(6, 10, dtype=torch.float64)
    assert torch.allclose(x @ collapsed, x @ tiled, rtol=1e-10)


def test_what_collapses():
    def collapses(**kind):
        return Crossbar(2, 2, Hardware(**kind)).collapsed

    assert collapses(dac=DAC(4), effects=(StuckAt(0.1), WriteNoise(0.1), PowerLawDrift(0.1)))
    assert not collapses(adc=ADC(8))
    assert not collapses(effects=(ReadNoise(0.1),))
    assert not collapses(dac=DAC(4, mode="bit_serial"))


# ── the other way ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_transposed_read_without_converters(encoding):
    crossbar, _ = programmed(7, 4, Hardware(encoding=ENCODINGS[encoding], array=Array(3, 2)))
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    assert torch.allclose(x @ crossbar.T, x @ crossbar.weight.T)
    assert torch.allclose(x[0, 0] @ crossbar.T, x[0, 0] @ crossbar.weight.T)


def naive_transposed(x, crossbar):
    """Drive every line, sum every tile's word lines per converter, convert, add digitally."""
    hardware, G = crossbar.hardware, crossbar.G.numpy()
    encoding, dac, adc = hardware.encoding, hardware.dac, hardware.adc
    analog, digital = naive.parts_of(encoding)
    x = np.asarray(x) * np.asarray(crossbar.scale)
    v_max, top = hardware.drive.v_max, naive.dac_top(dac)
    drive_by_call = hardware.drive.range == "per_call"
    limits = np.array([np.abs(x if drive_by_call else row).max() for row in x])
    currents = []  # [batch][tile][converter][row]
    for row, limit in zip(x, limits, strict=True):
        level = [naive.dac_level(value, limit, dac) for value in row]
        if isinstance(encoding, SingleColumn):
            level.append(-sum(level))
        volts = [value / top * v_max for value in level]
        currents.append(
            [
                [
                    [
                        sum(
                            volts[j] * sum(a * G[s, i, j] for s, a in enumerate(line)) for j in tile
                        )
                        for i in range(G.shape[1])
                    ]
                    for line in analog
                ]
                for tile in naive.tiles(G.shape[2], hardware.array.cols)
            ]
        )
    currents = np.array(currents)
    if adc is not None:
        analogue = currents.copy()
        for b, k in itertools.product(range(len(currents)), range(len(analog))):
            seen = analogue if adc.range == "per_call" else analogue[b, :, k]
            currents[b, :, k] = naive.converted(analogue[b, :, k], seen, adc)
    return np.einsum("btkr,k->br", currents, digital) * limits[:, None] / v_max


@pytest.mark.parametrize("policy", ["per_call", "calibrated"])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("dac", ["none", "amplitude", "unsigned"])
@pytest.mark.parametrize("method", ["none", "uniform", "log"])
def test_transposed_read_is_the_naive_one(encoding, dac, method, policy):
    adc = None if method == "none" else ADC(6, method=method, range=policy)
    hardware = Hardware(
        encoding=ENCODINGS[encoding],
        array=Array(4, 3),
        dac=with_range(DACS[dac], policy),
        adc=adc,
        effects=(UNEVEN,),
    )
    crossbar, _ = programmed(5, 7, hardware)
    x = torch.randn(3, 7, dtype=torch.float64)
    assert close(x @ crossbar.T, naive_transposed(x, crossbar))


def test_groups_have_no_transpose():
    with pytest.raises(ValueError, match="3"):
        torch.ones(2) @ Crossbar(2, 2, Hardware(), groups=3).T


# ── fabricate, program, age, store ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_programmed_weight_is_what_was_asked(encoding):
    crossbar, weight = programmed(9, 5, Hardware(encoding=ENCODINGS[encoding]))
    report = crossbar.program(weight)
    error = float((crossbar.weight - weight).norm() / weight.norm())
    if encoding in ("differential", "digital", "single"):
        assert max(error, report.relative_error) < 1e-12
    else:
        assert report.relative_error == pytest.approx(error, rel=1e-9)
        assert error < 0.6
    assert torch.allclose(report.target, report.achieved, rtol=1e-12, atol=0.0)
    assert report.stuck == 0.0
    assert torch.equal(crossbar.conductance, crossbar.G)


def test_report_says_what_was_asked_and_what_is_stored():
    hardware = Hardware(effects=(StuckAt(low=0.1), WriteNoise(0.05)))
    crossbar, weight = programmed(30, 20, hardware)
    report = crossbar.program(weight)
    target, _ = Differential().encode(weight, 1e-6, 100e-6)
    assert torch.allclose(report.target, target)
    assert torch.equal(report.achieved, crossbar.G)
    assert report.stuck == pytest.approx(float(crossbar.stuck.double().mean()))
    error = (crossbar.weight - weight).norm() / weight.norm()
    assert report.relative_error == pytest.approx(float(error))
    assert f"{report.stuck:.2%}" in str(report)


def test_new_crossbar_rests_at_g_min():
    crossbar = Crossbar(3, 4, Hardware(effects=(StuckAt(high=0.2),)), dtype=torch.float64)
    assert (crossbar.G[~crossbar.stuck] == 1e-6).all()
    assert (crossbar.G[crossbar.stuck] == 100e-6).all()


def test_stuck_cells_survive_everything():
    effects = (
        StuckAt(low=0.1, high=0.1, g_high=5e-4),
        FiniteStates(4),
        WriteNoise(0.1),
        PowerLawDrift(0.1, nu_spread=0.05),
    )
    crossbar, weight = programmed(20, 10, Hardware(effects=effects))
    stuck, born = crossbar.stuck.clone(), crossbar.G[crossbar.stuck].clone()
    assert {round(g, 9) for g in born.tolist()} == {1e-6, 5e-4}
    for step in (
        lambda: crossbar.program(2 * weight),
        lambda: crossbar.age(1e5),
        lambda: crossbar.store(torch.full_like(crossbar.G, 3e-5)),
        lambda: crossbar.program(-weight),
    ):
        step()
        assert torch.equal(crossbar.stuck, stuck)
        assert torch.equal(crossbar.G[stuck], born)
    crossbar.store(torch.full_like(crossbar.G, 3e-5))
    assert (crossbar.G[~stuck] == 3e-5).all()


def test_store_is_read_at_once():
    crossbar, weight = programmed(4, 3, Hardware(adc=ADC(12, range="per_call")))
    target, scale = Differential().encode(-weight, 1e-6, 100e-6)
    crossbar.store(target)
    assert torch.equal(crossbar.scale, scale)
    assert torch.allclose(crossbar.weight, -weight)
    x = torch.randn(2, 4, dtype=torch.float64)
    assert torch.allclose(x @ crossbar, -x @ weight, atol=1e-2)


def test_stored_tensor_is_not_shared():
    crossbar, _ = programmed(2, 2, Hardware())
    g = torch.full_like(crossbar.G, 2e-5)
    crossbar.store(g)
    g.zero_()
    assert (crossbar.G == 2e-5).all()


def test_reset_parameters_is_another_chip():
    hardware = Hardware(effects=(StuckAt(low=0.3), PowerLawDrift(0.05, nu_spread=0.02)))
    crossbar, weight = programmed(20, 10, hardware, seed=1)
    crossbar.age(100.0)
    first = crossbar.stuck.clone()
    crossbar.reset_parameters(seed=2)
    assert crossbar.seconds == 0.0
    assert not torch.equal(crossbar.stuck, first)
    assert (crossbar.G[~crossbar.stuck] == 1e-6).all()
    crossbar.program(weight)
    twin = Crossbar(20, 10, hardware, seed=2, dtype=torch.float64)
    twin.program(weight)
    assert torch.equal(crossbar.G, twin.G)
    crossbar.reset_parameters()
    assert not torch.equal(crossbar.stuck, twin.stuck)


def test_seeds_decide_everything():
    effects = (StuckAt(low=0.1), WriteNoise(0.05), PowerLawDrift(0.1, 0.02), ReadNoise(0.05))
    device = LinearDevice(g_max=Spread("Normal", (("loc", 1e-4), ("scale", 5e-6))))
    hardware = Hardware(device=device, effects=effects, adc=ADC(8))
    x = torch.randn(3, 9, dtype=torch.float64)

    def life(seed):
        crossbar, _ = programmed(9, 5, hardware, seed=seed)
        crossbar.age(50.0)
        return torch.stack((x @ crossbar, x @ crossbar))

    one, two, other = life(7), life(7), life(8)
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])  # reads differ


def test_cells_with_windows_of_their_own():
    device = LinearDevice(g_max=Spread("Uniform", (("low", 5e-5), ("high", 9e-5))))
    crossbar, _ = programmed(40, 40, Hardware(device=device))
    own = crossbar.cells.parameter("g_max")
    assert own.shape == crossbar.G.shape
    assert (own >= crossbar.G).all()
    assert len(own.unique()) > 3000


# ── refusals ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("values", "error", "word"),
    [
        ({"rows": 0}, ValueError, "rows"),
        ({"cols": -2}, ValueError, "cols"),
        ({"rows": 2.5}, TypeError, "rows"),
        ({"groups": 0}, ValueError, "groups"),
        ({"seed": -1}, ValueError, "seed"),
        ({"seed": 0.5}, TypeError, "seed"),
        ({"hardware": None}, TypeError, "hardware"),
    ],
)
def test_wrong_arguments_are_refused(values, error, word):
    given = {"rows": 2, "cols": 2, "hardware": Hardware(), **values}
    with pytest.raises(error, match=word):
        Crossbar(**given)


@pytest.mark.parametrize(
    "bad",
    [
        torch.full((4, 3), torch.nan),
        torch.tensor([[1.0, 2.0, torch.inf]] * 4),
        torch.tensor([[1.0, torch.inf, -torch.inf]] * 4),
        torch.zeros(3, 4),
        torch.zeros(12),
        torch.zeros(1, 4, 3),
        [[0.0] * 3] * 4,
        None,
    ],
    ids=["nan", "inf", "both", "turned", "flat", "batched", "list", "none"],
)
def test_bad_weights_are_refused_and_change_nothing(bad):
    effects = (WriteNoise(0.1), PowerLawDrift(0.1, 0.01))
    crossbar, _ = programmed(4, 3, Hardware(effects=effects))
    crossbar.age(10.0)
    before = copy.deepcopy(crossbar.state_dict())
    with pytest.raises((ValueError, TypeError), match="weight"):
        crossbar.program(bad)
    assert crossbar.seconds == 10.0
    for name, value in crossbar.state_dict().items():
        same = torch.equal(value, before[name]) if torch.is_tensor(value) else value == before[name]
        assert same or (torch.is_tensor(value) and value.isnan().all()), name


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf"), "1 parsec", None, True])
def test_bad_times_are_refused(bad):
    crossbar, _ = programmed(2, 2, Hardware())
    with pytest.raises((ValueError, TypeError), match="seconds"):
        crossbar.age(bad)
    assert crossbar.seconds == 0.0


def test_bad_conductances_are_refused():
    crossbar, _ = programmed(2, 2, Hardware())
    before = crossbar.G.clone()
    for bad in (-before, before * torch.nan, before[:1]):
        with pytest.raises(ValueError, match="g must"):
            crossbar.store(bad)
    assert torch.equal(crossbar.G, before)


def test_bad_inputs_are_refused():
    crossbar, _ = programmed(3, 2, Hardware())
    for bad in (torch.zeros(2, 2), torch.zeros(())):
        with pytest.raises(ValueError, match="3"):
            crossbar(bad)
    with pytest.raises(TypeError, match="input"):
        crossbar([0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="2"):
        _ = torch.zeros(1, 3) @ crossbar.T


# ── state ────────────────────────────────────────────────────────────────────────────────────


def test_state_round_trips_into_another_chip(tmp_path):
    effects = (StuckAt(0.1, 0.1), WriteNoise(0.1), PowerLawDrift(0.1, 0.02), ReadNoise(0.02))
    hardware = Hardware(array=Array(4, 4), dac=DAC(6), adc=ADC(6), effects=effects)
    one, _ = programmed(9, 5, hardware, seed=1)
    one.age(30.0)
    torch.save(one.state_dict(), tmp_path / "chip.pt")
    two = Crossbar(9, 5, hardware, seed=2, dtype=torch.float64)
    two.load_state_dict(torch.load(tmp_path / "chip.pt", weights_only=True))
    assert two.seconds == 30.0
    x = torch.randn(4, 9, dtype=torch.float64)
    for _ in range(3):  # later reads, ageing and programming too
        assert torch.equal(x @ one, x @ two)
        one.age(1e4)
        two.age(1e4)
    weight = torch.randn(9, 5, dtype=torch.float64)
    assert torch.equal(one.program(weight).achieved, two.program(weight).achieved)


@pytest.mark.parametrize(
    "other",
    [
        lambda: Crossbar(9, 4, Hardware()),
        lambda: Crossbar(9, 5, Hardware(adc=ADC(8))),
        lambda: Crossbar(9, 5, Hardware(effects=(WriteNoise(0.1),))),
        lambda: Crossbar(3, 5, Hardware(), groups=3),
    ],
    ids=["shape", "adc", "effects", "groups"],
)
def test_checkpoints_of_other_crossbars_are_refused(other):
    crossbar = Crossbar(9, 5, Hardware())
    crossbar.program(torch.randn(9, 5))
    before = crossbar.G.clone()
    with pytest.raises((RuntimeError, ValueError), match="expected"):
        crossbar.load_state_dict(other().state_dict())
    assert torch.equal(crossbar.G, before)


def test_to_float64_keeps_reading_the_same_weights():
    hardware = Hardware(array=Array(4, 4), adc=ADC(10, range=5e-5), effects=(StuckAt(0.1),))
    crossbar = Crossbar(9, 5, hardware)
    crossbar.program(torch.randn(9, 5))
    x = torch.randn(3, 9)
    y = x @ crossbar
    crossbar.to(torch.float64)
    assert crossbar.G.dtype == torch.float64
    z = x.double() @ crossbar
    assert z.dtype == torch.float64
    # One ADC step may flip where float32 stood on an edge.
    assert float((z.float() - y).abs().max()) < 3 * float(crossbar.scale) * 5e-5 / 511 / 0.2 * 4


def test_copies_live_lives_of_their_own():
    one, weight = programmed(4, 3, Hardware(effects=(WriteNoise(0.1),)))
    two = copy.deepcopy(one)
    before = two.G.clone()
    one.program(-weight)
    assert torch.equal(two.G, before)


def test_repr_says_how_it_is_read():
    assert "collapsed" in repr(Crossbar(3, 2, Hardware()))
    assert "tiled" in repr(Crossbar(3, 2, Hardware(adc=ADC(8))))


def test_integer_weights_and_float32_are_taken():
    crossbar = Crossbar(2, 2, Hardware(encoding=Ternary()))
    report = crossbar.program(torch.tensor([[1, -1], [0, 1]]))
    assert report.relative_error < 1e-6
    assert crossbar.G.dtype == torch.float32


def test_weights_of_very_different_sizes():
    for size, encoding in itertools.product((1e-12, 1e12), ENCODINGS.values()):
        crossbar = Crossbar(4, 3, Hardware(encoding=encoding, adc=ADC(12, range="per_call")))
        weight = torch.randn(4, 3) * size
        crossbar.program(weight)
        y = torch.eye(4) @ crossbar
        assert torch.isfinite(y).all()
        assert torch.allclose(y, crossbar.weight, atol=0.03 * float(crossbar.weight.abs().max()))
