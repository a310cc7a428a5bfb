"""From instruments' files to devices on the command line: what is said, written and refused."""

import re
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from mho import fit
from mho.devices import VTEAM, Device, ExponentialDevice, LinearDevice, Spread, TabularDevice
from mho.devices.steps import LinearStep
from mho_cli.app import main

sys.path.insert(0, str(Path(__file__).parent))
import corpus

from tolerance import near

LEA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "lea" / "figure_3"
needs_lea = pytest.mark.skipif(not LEA.is_dir(), reason=f"measured ReRAM is not here: {LEA}")


def written(path, header, *columns):
    rows = "\n".join(",".join(map(str, row)) for row in zip(*columns, strict=True))
    path.write_text(f"{header}\n{rows}\n")
    return path


def mho(capsys, *arguments):
    """Run a command; return its exit status, what it said and what it complained of."""
    status = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def jumps(path, header="g,dg,direction"):
    device = LinearStep(g_min=1e-6, g_max=21e-6, step=0.4e-6, c2c=0.5, slope_set=0.8)
    cells = device.fabricate((600,), seed=0, dtype=torch.float64)
    g = torch.linspace(2e-6, 20e-6, 600, dtype=torch.float64)
    columns = ([], [], [])
    for sign, name in ((1, "set"), (-1, "reset")):
        cells.write(g)
        cells.pulse(sign)
        columns[0].extend(g.tolist())
        columns[1].extend((cells.conductance() - g).tolist())
        columns[2].extend([name] * 600)
    return written(path, header, *columns[: header.count(",") + 1]), device


def respond(cells=(), cycles=6, **changes):
    device = ExponentialDevice(
        g_min=1e-6, g_max=9e-6, nonlinearity_set=2.0, nonlinearity_reset=-3.0, c2c=0.01, levels=40
    ).replace(**changes)
    population = device.fabricate(cells, seed=3, dtype=torch.float64)
    return device, population.respond(pulses=40, cycles=cycles).numpy()


def response(path, *, directions=False, scale=1.0, header="pulse,conductance", runs_on=False):
    device, (up, down) = respond()
    g = np.concatenate([up, down[:, 1:]], axis=1).ravel() * scale
    pulse = np.arange(486) if runs_on else np.tile(np.arange(81), 6)
    way = np.tile(["set"] * 41 + ["reset"] * 40, 6)
    return written(path, header, pulse, g, *([way] if directions else [])), device


def test_jump_tables_of_both_directions(tmp_path, capsys):
    path, truth = jumps(tmp_path / "pairs.csv")
    out = tmp_path / "deep" / "device.yaml"
    status, said, _ = mho(capsys, "fit", path, "--out", out, "--rows", 30)
    assert status == 0
    device = Device.load(out)
    assert isinstance(device, TabularDevice)
    assert len(device.set_table.g) == 30
    assert "jumps: 600 set and 600 reset jumps" in said
    assert "held-out set jumps" in said
    assert "held-out reset jumps" in said
    # The mean jump at the centre is the truth's.
    middle = np.interp(11e-6, device.set_table.g, device.set_table.mean())
    assert middle == pytest.approx(truth.step, rel=0.15)
    assert out.with_suffix(".png").stat().st_size > 20_000
    cells = device.fabricate((10,), seed=0)
    cells.pulse(5)
    assert bool((cells.conductance() > device.window[0]).all())


def test_one_direction_is_no_device(tmp_path, capsys):
    path, _ = jumps(tmp_path / "pairs.csv")
    lines = path.read_text().splitlines()[1:601]
    path.write_text("\n".join(["g,dg", *(line.rsplit(",", 1)[0] for line in lines)]))
    status, _, complaint = mho(capsys, "fit", path, "--out", tmp_path / "t.yaml")
    assert status == 1
    assert "no reset jumps" in complaint
    assert not (tmp_path / "t.yaml").exists()


def test_pulse_response(tmp_path, capsys):
    path, truth = response(tmp_path / "p.csv")
    arguments = ("--out", tmp_path / "d.yaml", "--law", "exponential")
    status, said, _ = mho(capsys, "fit", path, *arguments)
    assert status == 0
    assert "6 cycles of 40 set and 40 reset pulses" in said
    assert "g_max = " in said
    assert (tmp_path / "d.png").stat().st_size > 20_000
    device = Device.load(tmp_path / "d.yaml")
    low, high = device.window
    assert high == pytest.approx(truth.g_max, rel=0.1)
    assert low == near(truth.g_min, rel=0.45)
    # What counts: the curve is the truth's.
    found = device.fabricate((), dtype=torch.float64).respond(pulses=40, cycles=60).mean(1)
    wanted = truth.fabricate((), dtype=torch.float64).respond(pulses=40, cycles=60).mean(1)
    assert float((found - wanted).abs().max()) < 0.06 * 8e-6


def test_forms_of_one_response(tmp_path):
    wanted = fit.read(response(tmp_path / "p.csv")[0]).arrays
    for form in (
        {"directions": True, "header": "pulse,conductance,direction"},
        {"scale": 1e6, "header": "Pulse, Conductance (uS)"},
        {"scale": 1e6, "header": "Pulse #,G [µS]", "runs_on": True},
    ):
        found = fit.read(response(tmp_path / "q.csv", **form)[0]).arrays
        for name in ("set", "reset"):
            np.testing.assert_allclose(found[name], wanted[name], rtol=1e-9)


def test_cells_spread(tmp_path, capsys):
    spread = Spread(Normal(9e-6, 1e-6), low=5e-6)
    _, (up, down) = respond((12,), 3, g_max=spread)
    rows = []
    for cell in range(12):
        for cycle in range(3):
            curves = (up[cycle, :, cell], down[cycle, :, cell])
            if up.shape[-1] != 12:
                curves = (up[cycle, cell], down[cycle, cell])
            rows += [(cell, k, g, "set") for k, g in enumerate(curves[0] * 1e6)]
            rows += [(cell, 40 + k, g, "reset") for k, g in enumerate(curves[1] * 1e6) if k]
    path = written(
        tmp_path / "c.csv", "cell,pulse,conductance (uS),direction", *zip(*rows, strict=True)
    )
    measured = fit.read(path)
    assert measured.arrays["set"].shape == (12, 3, 41)
    assert measured.cells == tuple(map(str, range(12)))
    assert measured.arrays["set"][:, 0, -1].std() == pytest.approx(1e-6, rel=0.5)
    status, said, _ = mho(capsys, "fit", path, "--out", tmp_path / "d.yaml", "--dry-run")
    assert status == 0
    assert "12 cells, 3 cycles of 40 set and 40 reset pulses" in said
    assert not list(tmp_path.glob("d.*"))


def test_dry_run_says_three_lines_and_writes_nothing(tmp_path, capsys):
    path, _ = response(tmp_path / "p.csv")
    status, said, complaint = mho(capsys, "fit", path, "--dry-run", "--out", tmp_path / "d.yaml")
    assert (status, complaint) == (0, "")
    assert [line.split(":")[0] for line in said.splitlines()] == ["pulses", "columns", "noted"]
    assert [file.name for file in tmp_path.iterdir()] == ["p.csv"]


def test_maps_of_two_states(tmp_path, capsys):
    rng = np.random.default_rng(5)
    common = rng.normal(size=400)
    lrs = np.exp(np.log(50e-6) + 0.1 * (0.8 * common + 0.6 * rng.normal(size=400)))
    hrs = np.exp(np.log(2e-6) + 0.3 * common)
    x, y = np.divmod(np.arange(400), 20)
    path = written(tmp_path / "map.csv", "x,y,LRS (kOhm),HRS (kOhm)", x, y, 1e-3 / lrs, 1e-3 / hrs)
    status, said, _ = mho(capsys, "fit", path, "--out", tmp_path / "d.yaml")
    assert status == 0
    assert re.search(r"correlation of LRS and HRS 0\.78", " ".join(said.split()))
    device = Device.load(tmp_path / "d.yaml")
    assert isinstance(device, LinearDevice)
    cells = device.fabricate((20_000,), seed=1, dtype=torch.float64)
    high, low = (torch.log(cells.parameter(name)) for name in ("g_max", "g_min"))
    assert float(high.mean()) == pytest.approx(np.log(50e-6), abs=0.02)
    assert float(high.std()) == pytest.approx(0.1, rel=0.15)
    assert float(low.std()) == pytest.approx(0.3, rel=0.15)
    assert float(torch.corrcoef(torch.stack([high, low]))[0, 1]) == pytest.approx(0.8, abs=0.05)


def test_one_state_needs_the_other(tmp_path, capsys):
    rng = np.random.default_rng(5)
    values = np.exp(rng.normal(np.log(20), 0.1, (10, 10)))
    names = [f"{k}" for k in range(10)]
    header = ",".join(["LRS (kOhm)", *names])
    path = written(tmp_path / "map.csv", header, range(10), *values)
    status, said, complaint = mho(capsys, "fit", path, "--out", tmp_path / "d.yaml")
    assert status == 1
    assert "one state only" in " ".join(said.split())
    assert "nothing was written" in complaint
    assert not (tmp_path / "d.yaml").exists()
    status, _, _ = mho(capsys, "fit", path, "--out", tmp_path / "d.yaml", "--g-min", 1e-6)
    assert status == 0
    assert Device.load(tmp_path / "d.yaml").g_min == 1e-6


def test_a_curve(tmp_path, capsys):
    case = next(case for case in corpus.CASES if case.name == "latin-1")
    (tmp_path / "iv.csv").write_bytes(case.data)
    status, said, _ = mho(capsys, "fit", tmp_path / "iv.csv", "--out", tmp_path / "d.yaml")
    assert status == 0
    device = Device.load(tmp_path / "d.yaml")
    v = torch.tensor([-0.4, 0.1, 0.3], dtype=torch.float64)
    current = device.current_of(v, torch.tensor(device.window[1], dtype=torch.float64))
    wanted = 20e-6 * torch.sinh(3 * v) / 3
    assert torch.allclose(current, wanted, rtol=1e-3, atol=0.0)
    assert "law: sinh" in said
    assert re.search(r"b = (3|2\.99)", said)
    window = ("--g-min", 1e-6, "--g-max", 1e-4)
    assert mho(capsys, "fit", tmp_path / "iv.csv", "--out", tmp_path / "d.yaml", *window)[0] == 0
    assert Device.load(tmp_path / "d.yaml").window == (1e-6, 1e-4)


def test_a_curve_that_no_law_describes(tmp_path, capsys):
    rng = np.random.default_rng(3)
    v = np.linspace(0.05, 0.5, 60)
    path = written(tmp_path / "iv.csv", "V,I (uA)", v, np.abs(rng.normal(5, 3, 60)))
    status, _, complaint = mho(capsys, "fit", path, "--out", tmp_path / "d.yaml")
    assert status == 1
    assert "no law describes this curve" in complaint
    assert not (tmp_path / "d.yaml").exists()


def test_a_switching_loop_is_no_curve(tmp_path, capsys, monkeypatch):
    cell = VTEAM(r_on=1e3, r_off=1e4, v_on=-0.5, v_off=0.4, k_on=-2e-8, k_off=1e-8)
    way = np.linspace(0, 1, 30)
    sweep = np.concatenate([way, way[::-1], -way, -way[::-1]])
    v = torch.tensor(np.tile(sweep, 2))
    time = np.arange(len(v)) / len(sweep)
    population = cell.fabricate((), seed=0, dtype=torch.float64)
    current = population.simulate(v, dt=time[1], adaptive=True).numpy()
    path = written(tmp_path / "loop.csv", "t (s),V,I (mA)", time, v.numpy(), 1e3 * current)
    given = {}

    def loop(*pair, **choices):  # the fit itself is tested where it stands
        given.update(choices, pair=pair)
        raise ValueError("fitted")

    monkeypatch.setattr(fit, "loop", loop)
    status, said, complaint = mho(capsys, "fit", path, "--law", "vteam", "--seed", 3)
    assert (status, complaint) == (1, "mho fit: fitted\n")
    assert "2 cycles" in said
    np.testing.assert_allclose(given["pair"][1], current, rtol=1e-9)
    np.testing.assert_allclose(given["time"], time)
    assert np.bincount(given["cycle"].astype(int)).tolist() == [120, 120]
    assert (given["model"], given["seed"], given["rate"]) == ("vteam", 3, None)


def test_retention_and_programming(tmp_path, capsys):
    rng = np.random.default_rng(8)
    time, cells = np.geomspace(1, 1e5, 12), 15
    nu, g0 = rng.normal(0.05, 0.01, cells), rng.uniform(10, 50, cells)
    g = g0[:, None] * time ** -nu[:, None] * (1 + 0.002 * rng.normal(size=(cells, 12)))
    header = ",".join(["time (s)", *(f"cell {k} (uS)" for k in range(cells))])
    path = written(tmp_path / "r.csv", header, time, *g)
    status, said, _ = mho(capsys, "fit", path, "--out", tmp_path / "r.yaml")
    assert status == 0
    assert "15 cells, 180 readings, 1 … 100000 s" in said
    assert Device.load(tmp_path / "r.yaml").nu[0] == pytest.approx(nu.mean(), abs=0.003)
    target = np.repeat(np.linspace(5, 50, 6), 20)
    achieved = target + rng.normal(0, 0.5, 120)
    path = written(tmp_path / "p.csv", "target (uS),achieved (uS)", target, achieved)
    status, said, _ = mho(capsys, "fit", path, "--out", tmp_path / "p.yaml")
    assert status == 0
    assert "120 programmed conductances of 6 targets" in said
    assert Device.load(tmp_path / "p.yaml").write_sigma[0] == pytest.approx(0.5e-6, rel=0.2)


def test_choices_of_another_kind_are_refused(tmp_path, capsys):
    path, _ = response(tmp_path / "p.csv")
    for choice in (("--g-min", 1e-6), ("--clock", "running")):
        status, _, complaint = mho(capsys, "fit", path, *choice)
        assert status == 1
        assert f"{choice[0]} is for" in complaint


BAD = [case for case in corpus.CASES if case.refused and not case.reading]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_bad_files_leave_nothing(case, tmp_path, capsys):
    path = tmp_path / "bad.csv"
    path.write_bytes(case.data)
    status, said, complaint = mho(capsys, "fit", path, "--out", tmp_path / "d.yaml")
    assert status == 1
    assert said == ""
    assert complaint.startswith("mho fit: ")
    assert "bad.csv" in complaint
    assert [file.name for file in tmp_path.iterdir()] == ["bad.csv"]


def test_a_figure_that_fails_leaves_no_device(tmp_path, capsys, monkeypatch):
    path, _ = response(tmp_path / "p.csv")
    (tmp_path / "old.yaml").write_text("kept")
    monkeypatch.setattr("mho.cli.fit.draw", lambda *_: (_ for _ in ()).throw(OSError("no room")))
    status, _, complaint = mho(
        capsys, "fit", path, "--out", tmp_path / "old.yaml", "--law", "exponential"
    )
    assert status == 1
    assert "no room" in complaint
    assert (tmp_path / "old.yaml").read_text() == "kept"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["old.yaml", "p.csv"]


def test_places_that_cannot_be_written(tmp_path, capsys):
    path, _ = response(tmp_path / "p.csv")
    same = tmp_path / "d.png"
    status, _, complaint = mho(capsys, "fit", path, "--out", same, "--figure", same)
    assert status == 1
    assert "two files" in complaint
    status, _, complaint = mho(capsys, "fit", path, "--out", tmp_path)
    assert status == 1
    assert "is a folder" in complaint
    assert [file.name for file in tmp_path.iterdir()] == ["p.csv"]


def test_the_old_name_and_the_old_kinds(tmp_path, capsys):
    path, _ = response(tmp_path / "p.csv")
    arguments = ("--kind", "exponential", "--law", "exponential", "--out", tmp_path / "d.yaml")
    status, said, _ = mho(capsys, "fit-device", path, *arguments)
    assert status == 0
    assert said.startswith("pulses: 1 cell")
    status, _, complaint = mho(capsys, "fit-device", tmp_path / "none.csv")
    assert status == 1
    assert "none.csv" in complaint
    for name in ("fit", "fit-device"):
        assert main([name, "--help"]) == 0
        assert "voltage, current" in capsys.readouterr().out
    assert main(["fit", str(path), "--unit", "G"]) == 2
    assert "must be NAME=VALUE" in capsys.readouterr().err


@needs_lea
def test_measured_files_without_headers(tmp_path, capsys):
    paths = [
        LEA / "c" / f"iv_{sign}_cycle{k}.txt" for k in (1, 2) for sign in ("positive", "negative")
    ]
    names = ("--column", "1=voltage", "--column", "2=current")
    status, said, _ = mho(capsys, "fit", *paths, *names, "--dry-run")
    assert status == 0
    assert "2 cycles" in said
    assert "4 files joined in this order: iv_positive_cycle1.txt" in said
    status, _, complaint = mho(capsys, "fit", *paths)
    assert status == 1
    assert "no header above the numbers" in complaint


@needs_lea
def test_a_measured_map(tmp_path, capsys):
    found = fit.read(
        LEA / "d" / "conductance_map_multibit_k17.txt", kind="map", units={"value": "pS"}
    )
    assert found.arrays["lrs"].mean() == pytest.approx(177e-6, rel=0.01)


def test_the_old_kind_exponential_is_its_law(tmp_path, capsys):
    path, _ = response(tmp_path / "p.csv")
    status, said, _ = mho(
        capsys, "fit", path, "--kind", "exponential", "--out", tmp_path / "d.yaml"
    )
    assert status == 0
    assert "law: exponential" in said
    assert isinstance(Device.load(tmp_path / "d.yaml"), ExponentialDevice)
    status, _, complaint = mho(capsys, "fit", path, "--kind", "exponential", "--law", "linear")
    assert status == 1
    assert "--kind exponential is --law exponential" in complaint


def test_files_that_name_the_same_cycles_are_not_joined_silently(tmp_path, capsys):
    paths = []
    for name, top in (("a", 40.0), ("b", 80.0)):
        g = [1.0 + top * (1.0 - 0.8**k) for k in range(11)]
        rows = []
        for c in range(2):
            rows += [f"{k},{x:.4f},set,{c}" for k, x in enumerate(g)]
            rows += [f"{k},{x:.4f},reset,{c}" for k, x in enumerate(g[::-1])]
        paths.append(tmp_path / f"{name}.csv")
        paths[-1].write_text("pulse,G (uS),direction,cycle\n" + "\n".join(rows))
    assert main(["fit", *map(str, paths), "--dry-run"]) == 1
    error = capsys.readouterr().err
    assert "cycle 0 stands in several of them" in error
    assert "--each-file cell" in error
    assert main(["fit", *map(str, paths), "--dry-run", "--each-file", "cell"]) == 0
    assert "2 cells, 2 cycles" in capsys.readouterr().out


def test_states_are_no_cycles(tmp_path, capsys):
    v = np.linspace(-1.0, 1.0, 41)
    rows = [f"{s},{x:.3f},{g * np.sinh(x):.6g}" for s, g in enumerate((1e-5, 3e-5)) for x in v]
    path = tmp_path / "states.csv"
    path.write_text("state,voltage (V),current (A)\n" + "\n".join(rows))
    assert main(["fit", str(path), "--dry-run"]) == 0
    assert "1 cycle, 2 states" in capsys.readouterr().out
