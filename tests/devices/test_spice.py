"""Voltage-driven models in ngspice: their loops, reads of arrays, what users can change there."""

from __future__ import annotations

import math
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch.distributions import Normal

from mho.circuit import Wires, solve_nonlinear
from mho.devices import (
    JARTVCM,
    TEAM,
    VTEAM,
    Biolek,
    DataDriven2018,
    DataDriven2021,
    Joglekar,
    Kvatinsky,
    LinearDevice,
    LinearIonDrift,
    Pickett,
    Prodromakis,
    Rectangular,
    Spread,
    StanfordPKU,
    SwitchingDevice,
    Yakopcic,
    spice,
    waveforms,
)
from mho.devices.expressions import Expression

F64 = torch.float64
ngspice = pytest.mark.skipif(
    shutil.which("ngspice") is None,
    reason="ngspice is not installed (Debian: apt-get install ngspice): no SPICE reference",
)
SLOW_VTEAM = VTEAM(k_on=-2e-7, k_off=3e-9)
# Device, state at the start, amplitude (V), frequency (Hz).
LOOPS: dict[str, tuple[SwitchingDevice, float, float, float]] = {
    "linear": (LinearIonDrift(window_function=Rectangular()), 0.31, 1.1, 1.0),
    "linear-joglekar": (LinearIonDrift(window_function=Joglekar(p=2)), 0.31, 1.2, 1.0),
    "linear-biolek": (LinearIonDrift(window_function=Biolek(p=2)), 0.31, 1.2, 1.0),
    "linear-prodromakis": (
        LinearIonDrift(window_function=Prodromakis(p=3, j=1.5)), 0.31, 1.2, 1.0
    ),
    "vteam": (SLOW_VTEAM.replace(window_function=Kvatinsky(0.5, 0.3, 0.05)), 0.6, 0.6, 10.0),
    "vteam-exponential": (SLOW_VTEAM.replace(resistance="exponential"), 0.6, 0.4, 10.0),
    "team": (TEAM(i_on=-115e-6), 0.3, 0.6, 0.2),
    "pickett": (Pickett(), 0.75, 0.75, 0.02),
    "stanford-pku": (StanfordPKU(delta_gap=0.0, f_min=0.0), 0.467, 0.9, 1e4),
    "2018": (DataDriven2018(), 0.57, 0.9, 100.0),
    "2021": (DataDriven2021(), 0.5, 1.5, 2e3),
    "yakopcic": (Yakopcic(), 0.11, 0.45, 100.0),
    "jart": (JARTVCM(), 0.6, 0.75, 1e3),
}  # fmt: skip


def run(deck: str, folder: Path) -> str:
    (folder / "deck.cir").write_text(deck)
    done = subprocess.run(
        ["ngspice", "-b", "deck.cir"], cwd=folder, capture_output=True, text=True, timeout=100
    )
    assert "aborted" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.stdout


def read(deck: str, folder: Path) -> torch.Tensor:
    lines = [line for line in run(deck, folder).splitlines() if line.startswith("i(vsense")]
    return torch.tensor([float(line.split("=")[1]) for line in lines], dtype=F64)


def follow(deck: str, folder: Path, samples: int, dt: float, column: int = -1) -> np.ndarray:
    run(deck, folder)
    table = np.loadtxt(folder / "currents.data")
    return np.interp(np.arange(samples) * dt, table[:, 0], table[:, column])


@ngspice
@pytest.mark.parametrize("name", LOOPS)
def test_loops_agree_with_ngspice(name: str, tmp_path: Path) -> None:
    device, start, amplitude, frequency = LOOPS[name]
    samples = 1000
    dt = 1 / frequency / samples
    volts = amplitude * torch.sin(2 * math.pi * torch.arange(samples + 1, dtype=F64) / samples)
    cells = device.fabricate((1, 1), dtype=F64)
    cells.x = torch.full((1, 1), start, dtype=F64)
    deck = spice.netlist(cells, Wires(), volts[:, None], dt=dt)
    found = follow(deck, tmp_path, samples + 1, dt)
    expected = cells.simulate(volts, dt=dt).numpy().reshape(-1)
    assert np.abs(found - expected).max() < 1e-2 * np.abs(expected).max()
    # A loop that does not open would prove nothing.
    quarter = samples // 4
    up, down = expected[:quarter], expected[quarter : 2 * quarter + 1]
    back = np.abs(expected[2 * quarter :][:quarter]), np.abs(expected[3 * quarter :][:quarter])
    opened = max(np.abs(up - down[:0:-1][:quarter]).max(), np.abs(back[0] - back[1][::-1]).max())
    assert opened > 0.05 * np.abs(expected).max()


@ngspice
@pytest.mark.parametrize(
    ("device", "start", "amplitude"),
    [(JARTVCM(), 0.0, -1.5), (StanfordPKU(delta_gap=0.0), 0.467, 1.2)],
)
def test_loops_that_set_and_reset_abruptly(
    device: SwitchingDevice, start: float, amplitude: float, tmp_path: Path
) -> None:
    _, volts = waveforms.triangle(amplitude, 1e4, dt=1e-7)
    volts = volts.double()
    cells = device.fabricate((1, 1), dtype=F64)
    cells.x = torch.full((1, 1), start, dtype=F64)
    deck = spice.netlist(cells, Wires(), volts[:, None], dt=1e-7)
    found = follow(deck, tmp_path, len(volts), 1e-7)
    expected = cells.simulate(volts, dt=1e-7).numpy().reshape(-1)
    off = np.abs(found - expected)
    assert off.sum() < 1e-2 * np.abs(expected).sum()
    # A few of the samples fall into the jumps.
    assert (off > 1e-2 * np.abs(expected).max()).sum() <= 5


def spread(device: SwitchingDevice, name: str) -> SwitchingDevice:
    value = getattr(device, name)
    return device.replace(**{name: Spread(Normal(value, 0.1 * abs(value)))})


ARRAYS = [
    spread(LinearIonDrift(), "r_on"),
    spread(VTEAM(resistance="exponential"), "r_off"),
    spread(TEAM(), "r_off"),
    spread(Pickett(), "area"),
    spread(StanfordPKU(), "i0"),
    spread(DataDriven2018(), "a"),
    spread(DataDriven2021(), "b"),
    spread(Yakopcic(), "a2"),
    spread(JARTVCM(), "radius"),
]


@ngspice
@pytest.mark.parametrize("device", ARRAYS, ids=lambda device: type(device).__name__)
def test_reads_of_an_array_agree_with_the_solver(device: SwitchingDevice, tmp_path: Path) -> None:
    cells = device.fabricate((3, 2), seed=5, dtype=F64)
    cells.x = torch.tensor([[0.2, 0.9], [0.5, 0.7], [0.4, 1.0]], dtype=F64)
    stuck = torch.tensor([[False, False], [False, True], [False, False]])
    cells.break_too(stuck, 1e-4 * torch.ones(3, 2, dtype=F64))
    wires, volts = Wires(30, 5, 7, 20), torch.tensor([0.3, -0.2, 0.15], dtype=F64)
    found = read(spice.netlist(cells, wires, volts, sink=0.02), tmp_path)
    solved = solve_nonlinear(cells.current, (3, 2), wires, volts, sink=0.02)
    torch.testing.assert_close(found, solved.currents, rtol=1e-6, atol=0)


@ngspice
def test_cells_of_an_array_move_as_simulated(tmp_path: Path) -> None:
    device = LinearIonDrift(r_off=Spread(Normal(16e3, 2e3)), window_function=Biolek(p=2))
    cells = device.fabricate((2, 2), seed=5, dtype=F64)
    cells.x = torch.tensor([[0.2, 0.7], [0.5, 0.4]], dtype=F64)
    time = torch.arange(2001, dtype=F64) / 2000
    volts = torch.stack([torch.sin(2 * math.pi * time), 0.6 * torch.cos(2 * math.pi * time)], 1)
    deck = spice.netlist(cells, Wires(), volts, dt=5e-4, output="currents.data")
    found = follow(deck, tmp_path, 2001, 5e-4)
    currents = cells.simulate(volts[:, :, None].expand(-1, 2, 2), dt=5e-4)
    expected = currents.sum(1)[:, 1].numpy()
    assert np.abs(found - expected).max() < 3e-3 * np.abs(expected).max()


@ngspice
@pytest.mark.slow
def test_a_write_through_wires_sets_what_it_sets_by_the_solver(tmp_path: Path) -> None:
    cells = JARTVCM().fabricate((2, 2), dtype=F64)
    cells.x = torch.full((2, 2), 0.5, dtype=F64)
    volts = torch.zeros(60, 2, dtype=F64)
    volts[3:, 1] = -0.62
    wires = Wires(50, 2, 2, 50)
    deck = spice.netlist(cells, wires, volts, dt=5e-10)
    nodes = " ".join(f"v(xcell_{i}_{j}.x)" for i in range(2) for j in range(2))
    deck = deck.replace("wrdata currents.data", f"wrdata currents.data {nodes}")
    run(deck, tmp_path)
    found = np.loadtxt(tmp_path / "currents.data")[-1, 1:5]

    def slope(t: float, x: np.ndarray) -> np.ndarray:
        cells.x = torch.from_numpy(x).clamp(0.0, 1.0).view(2, 2)
        v = torch.tensor([0.0, np.interp(t, np.arange(60) * 5e-10, volts[:, 1])], dtype=F64)
        seen = solve_nonlinear(cells.current, (2, 2), wires, v).cell_voltages
        p = cells.spec.parameters()
        return cells.spec.rate(cells.x, (seen,), p).flatten().numpy()

    end = 59 * 5e-10
    expected = solve_ivp(slope, (0, end), [0.5] * 4, rtol=1e-4, atol=1e-5, max_step=end / 20)
    assert expected.y[2, -1] > 0.53  # written, and its neighbour on the word line too
    np.testing.assert_allclose(found, expected.y[:, -1], atol=2e-3)


@ngspice
def test_parameters_can_be_changed_in_the_deck(tmp_path: Path) -> None:
    text = spice.subcircuit(VTEAM(), "mem")
    deck = "\n".join(
        ["* two", text, "V1 a 0 DC 0.1", "X1 a b mem x0=1 hold=1", "Vsense0 b 0 0",
         "X2 a c mem x0=1 hold=1 r_on=80", "Vsense1 c 0 0", ".control", "op",
         "print i(vsense0)", "print i(vsense1)", "quit", ".endc", ".end", ""]
    )  # fmt: skip
    torch.testing.assert_close(read(deck, tmp_path), torch.tensor([0.1 / 50, 0.1 / 80], dtype=F64))


@ngspice
def test_states_stop_at_the_ends_of_their_range(tmp_path: Path) -> None:
    cells = VTEAM(k_on=-1e-6, k_off=1e-6).fabricate((1, 1), dtype=F64)
    volts = torch.cat([-0.5 * torch.ones(100), 0.5 * torch.ones(100)]).double()
    deck = spice.netlist(cells, Wires(), volts[:, None], dt=1e-3)
    deck = deck.replace("wrdata currents.data", "wrdata currents.data v(xcell_0_0.x)")
    state = follow(deck, tmp_path, 200, 1e-3, column=1)
    assert state.min() > -1e-3
    assert state.max() < 1 + 1e-3
    assert state[99] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("device", [loop[0] for loop in LOOPS.values()], ids=list(LOOPS))
def test_traced_equations_come_to_what_the_model_computes(device: SwitchingDevice) -> None:
    p = device.parameters()
    _, traced, symbols = spice._symbols(device)
    x, v = Expression("x", value=0.5), Expression("v", value=0.5)
    if device.implicit:
        expected = device.settled(0.5, 0.5, 0.05, p)
        found = traced.settled(x, v, Expression("u", value=0.05), symbols)
        assert [part.value for part in found] == pytest.approx(expected, rel=1e-12)
    else:
        rate = traced.rate(x, traced.drive(v, symbols), symbols)
        assert rate.value == pytest.approx(device.rate(0.5, device.drive(0.5, p), p), rel=1e-12)
        current = traced.current_at(x, v, symbols).value
        assert current == pytest.approx(device.current_at(0.5, 0.5, p), rel=1e-12)


def test_a_subcircuit_has_the_parameters_of_the_model() -> None:
    text = spice.subcircuit(VTEAM(window_function=Kvatinsky(a_off=0.7)), "mem")
    for part in ("k_on=-10.0", "w_off=3e-09", "window_a_off=0.7", "x0=0.0"):
        assert f" {part}" in text
    assert "left out" not in text
    assert "the random term of the state is left out" in spice.subcircuit(StanfordPKU())
    assert "delta_gap" not in spice.subcircuit(StanfordPKU())
    assert spice.subcircuit(TEAM()).startswith("* TEAM")
    cycles = JARTVCM(c2c_radius=0.1)
    assert "differences from cycle to cycle are left out" in spice.subcircuit(cycles)
    cells = cycles.fabricate((1, 2), seed=3, dtype=F64)
    cells.x = torch.full((1, 2), 0.6, dtype=F64)
    cells.apply_pulse(-0.6, 1e-8)
    deck = spice.netlist(cells, Wires(), torch.ones(1))
    for radius in cells.present()["radius"].flatten().tolist():
        assert f" radius={radius!r}" in deck


@dataclass(frozen=True)
class Unsaid(SwitchingDevice):
    """A device without equations."""

    g_min, g_max = 1e-6, 1e-4


@dataclass(frozen=True)
class Timed(Unsaid):
    """A device with a parameter of a name that decks need."""

    time: float = 1.0


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"names that a deck needs: \['time'\]"):
        spice.subcircuit(Timed())
    cells = VTEAM().fabricate((2, 3))
    with pytest.raises(TypeError, match="device must be SwitchingDevice"):
        spice.subcircuit(LinearDevice())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Unsaid does not say its equations"):
        spice.subcircuit(Unsaid())
    with pytest.raises(ValueError, match="name must be letters"):
        spice.subcircuit(VTEAM(), "a b")
    with pytest.raises(TypeError, match="cells must be SwitchingCells"):
        spice.netlist(LinearDevice().fabricate((2, 3)), Wires(), torch.ones(2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="gated"):
        spice.netlist(cells, Wires(gated=True), torch.ones(2))
    with pytest.raises(ValueError, match=r"voltages must have shape \[2\] \(or"):
        spice.netlist(cells, Wires(), torch.ones(3))
    with pytest.raises(ValueError, match=r"voltages must have shape \[time, 2\]"):
        spice.netlist(cells, Wires(), torch.ones(2), dt=1e-6)
    with pytest.raises(ValueError, match="dt must be > 0"):
        spice.netlist(cells, Wires(), torch.ones(5, 2), dt=0.0)
    with pytest.raises(ValueError, match="cells must have shape"):
        spice.netlist(VTEAM().fabricate((2,)), Wires(), torch.ones(2))
