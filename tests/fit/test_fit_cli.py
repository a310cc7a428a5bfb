"""From CSV files to devices: what is fitted, written and refused."""

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
import pytest
import torch
import yaml

from mho.cells.device import Device
from mho.cli import fit as fit_cli
from mho.cli.main import main
from mho.core.spec import Spec
from mho.devices.exponential import ExponentialDevice
from mho.devices.steps import LinearStep
from mho.devices.tabular import JumpTable, TabularDevice
from mho.effects import PowerLawDrift


def written(path, header, *columns):
    rows = "\n".join(",".join(map(str, row)) for row in zip(*columns, strict=True))
    path.write_text(f"{header}\n{rows}\n")
    return path


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


def response(path, *, directions=False, scale=1.0, header="pulse,conductance"):
    device = ExponentialDevice(
        g_min=1e-6, g_max=9e-6, nonlinearity_set=2.0, nonlinearity_reset=-3.0, c2c=0.01, levels=40
    )
    cells = device.fabricate((6,), seed=3, dtype=torch.float64)
    up, down = cells.respond(40).reshape(2, 6, 41).numpy() * scale
    g = np.concatenate([up, down[:, 1:]], axis=1).ravel()
    pulse = np.tile(np.arange(81), 6)
    way = np.tile(["set"] * 41 + ["reset"] * 40, 6)
    return written(path, header, pulse, g, *([way] if directions else [])), device


def test_jump_tables_of_both_directions(tmp_path):
    path, truth = jumps(tmp_path / "pairs.csv")
    out = tmp_path / "deep" / "device.yaml"
    told = fit_cli.run(path, out, rows=30)
    device = Spec.from_dict(yaml.safe_load(out.read_text()))
    assert isinstance(device, TabularDevice)
    assert len(device.set_table.g) == 30
    assert "held-out set jumps" in told
    assert "held-out reset jumps" in told
    # The mean jump at the centre is the truth's.
    middle = np.interp(11e-6, device.set_table.g, device.set_table.mean())
    assert middle == pytest.approx(truth.step, rel=0.15)
    assert out.with_suffix(".png").stat().st_size > 20_000
    cells = device.fabricate((10,), seed=0)
    cells.pulse(5)
    assert bool((cells.conductance() > device.window[0]).all())


def test_one_direction_is_one_table(tmp_path):
    path, _ = jumps(tmp_path / "pairs.csv")
    lines = path.read_text().splitlines()[1:601]
    path.write_text("\n".join(["g,dg", *(line.rsplit(",", 1)[0] for line in lines)]))
    told = fit_cli.run(path, tmp_path / "t.yaml", figure=tmp_path / "fig.png")
    assert isinstance(Spec.from_dict(yaml.safe_load((tmp_path / "t.yaml").read_text())), JumpTable)
    assert "one direction only" in told
    assert (tmp_path / "fig.png").exists()


@pytest.mark.parametrize(
    ("directions", "scale", "header"),
    [
        (False, 1.0, "pulse,conductance"),
        (True, 1.0, "pulse,conductance,direction"),
        (False, 1e6, "Pulse, Conductance (uS)"),
    ],
)
def test_pulse_response(tmp_path, directions, scale, header):
    path, truth = response(tmp_path / "p.csv", directions=directions, scale=scale, header=header)
    fit_cli.run(path, tmp_path / "d.yaml")
    device = Device.from_dict(yaml.safe_load((tmp_path / "d.yaml").read_text()))
    assert isinstance(device, ExponentialDevice)
    assert device.g_max == pytest.approx(truth.g_max, rel=0.05)
    assert device.nonlinearity_set == pytest.approx(2.0, abs=0.4)
    assert device.nonlinearity_reset == pytest.approx(-3.0, abs=0.4)
    assert device.c2c == pytest.approx(0.01, rel=0.3)


def test_current_voltage_law(tmp_path):
    v = np.linspace(-0.5, 0.5, 41)
    path = written(tmp_path / "iv.csv", "voltage,current (uA)", v, 20.0 * np.sinh(3 * v) / 3)
    fit_cli.run(path, tmp_path / "law.yaml")
    law = yaml.safe_load((tmp_path / "law.yaml").read_text())
    assert law["law"] == "sinh"
    assert law["parameters"]["g"] == pytest.approx(20e-6, rel=1e-3)
    assert law["parameters"]["b"] == pytest.approx(3.0, rel=1e-3)


def test_retention(tmp_path):
    hours = np.geomspace(0.01, 100, 30)
    path = written(tmp_path / "r.csv", "time (h),conductance", hours, 1e-5 * hours**-0.05)
    fit_cli.run(path, tmp_path / "drift.yaml")
    drift = Spec.from_dict(yaml.safe_load((tmp_path / "drift.yaml").read_text()))
    assert isinstance(drift, PowerLawDrift)
    assert drift.nu == pytest.approx(0.05, rel=1e-6)
    assert drift.t0 == pytest.approx(36.0)


def test_kind_is_forced_where_a_header_says_two(tmp_path):
    t = np.geomspace(1, 1e4, 20)
    path = written(tmp_path / "x.csv", "time,conductance,pulse", t, 1e-5 * t**-0.1, range(20))
    with pytest.raises(ValueError, match=r"exponential and retention: choose with --kind"):
        fit_cli.run(path, tmp_path / "d.yaml")
    fit_cli.run(path, tmp_path / "d.yaml", kind="retention")
    assert yaml.safe_load((tmp_path / "d.yaml").read_text())["type"] == "PowerLawDrift"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"empty; a header"),
        ("g,dg\n", r"no rows below"),
        ("g,dg\n1e-6,1e-8\n2e-6,abc\n", r"line 3, column 'dg': 'abc' is not a finite number"),
        ("g,dg\n1e-6,1e-8\n\n# note\n2e-6,nan\n", r"line 5, column 'dg': 'nan'"),
        ("g,dg\n1e-6,1e-8\n2e-6\n", r"line 3: 1 columns, the header has 2"),
        ("g,g\n1,2\n", r"line 1: a column is named twice"),
        ("a,b\n1,2\n", r"line 1: header a, b fits none of: g, dg"),
        ("1e-6,1e-8\n2e-6,1e-8\n", r"line 1: header 1e-6, 1e-8 fits none of"),
        ("g (kg),dg\n1,2\n", r"column 'g': unit 'kg' is not one of S"),
        ("g,dg,direction\n1,2,up\n", r"line 2, column 'direction': must be set or reset"),
        ("g,dg\n-1e-6,1e-8\n", r"line 2, column 'g': must be >= 0"),
        ("time,conductance\n0,1e-6\n1,1e-6\n", r"line 2, column 'time': must be > 0"),
        ("time,conductance\n2,1e-6\n1,1e-6\n", r"line 3, column 'time': must increase"),
        ("pulse,conductance\n0,1\n1,2\n0,1\n", r"line 4, column 'pulse': this cycle has 1 rows"),
        ("g,dg\n1e-6,1e-8\n2e-6,1e-8\n", r"too few pairs"),
    ],
)
def test_bad_files_are_refused_with_line_and_column(tmp_path, text, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        fit_cli.run(path, tmp_path / "d.yaml")
    assert not (tmp_path / "d.yaml").exists()


def test_missing_columns_of_a_forced_kind(tmp_path):
    path = written(tmp_path / "x.csv", "g,dg", [1], [2])
    with pytest.raises(ValueError, match=r"no column 'current', 'voltage'; iv needs"):
        fit_cli.run(path, tmp_path / "d.yaml", kind="iv")


def test_command(tmp_path, capsys):
    v = np.linspace(-0.5, 0.5, 21)
    path = written(tmp_path / "iv.csv", "voltage,current", v, 1e-5 * v)
    assert main(["fit-device", str(path), "--out", str(tmp_path / "law.yaml")]) == 0
    assert "iv fitted to 21 rows" in capsys.readouterr().out
    assert (tmp_path / "law.png").exists()
    assert main(["fit-device", str(tmp_path / "none.csv")]) == 1
    assert "none.csv" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["fit-device", "--help"])
    assert "voltage, current" in capsys.readouterr().out
