"""Jump tables and the devices that draw from them."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy import stats

from mho.core.spec import Spec
from mho.devices import presets
from mho.devices.tabular import JumpTable, TabularDevice

TABLES = (
    Path(__file__).resolve().parents[2].parent / "shared" / "data" / "xbtorch_tables" / "tabular"
)


def normal_table(g, mean, sigma, dg):
    cdf = stats.norm.cdf(np.asarray(dg)[None, :], np.asarray(mean)[:, None], sigma)
    return JumpTable(g=g, dg=dg, cdf=cdf)


def smooth(low=0.0, high=1.0, sign=1.0):
    g = np.linspace(low, high, 21)
    mean = sign * 0.05 * (high - g if sign > 0 else g - low)
    return normal_table(g, mean, 0.02, np.linspace(-0.15, 0.15, 301))


def device(**changes):
    return TabularDevice(smooth(), smooth(sign=-1.0), **changes)


def real_stems():
    return sorted(str(path)[: -len("_cdf.txt")] for path in TABLES.glob("*/*_cdf.txt"))


needs_tables = pytest.mark.skipif(
    not TABLES.is_dir(), reason=f"the field's tables are not here: {TABLES}"
)


def jumps(spec, g, sign, number=50_000, seed=0):
    """Jumps of one pulse of many cells that all stand at g."""
    cells = spec.fabricate((number,), seed=seed, dtype=torch.float64)
    cells.write(torch.tensor(g, dtype=torch.float64))
    before = cells.g.clone()
    cells.pulse(sign)
    return (cells.g - before).numpy()


def table_cdf(table, row):
    """The row's CDF: linear between nodes, the rest of the probability at the ends."""

    def cdf(x):
        inside = np.interp(x, table.dg, table.cdf[row])
        return np.where(x >= table.dg[-1], 1.0, np.where(x < table.dg[0], 0.0, inside))

    return cdf


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("row", [0, 7, 20])
def test_a_row_is_sampled_as_tabulated(sign, row):
    # A window far wider than the table's, so that no jump is cut.
    spec = TabularDevice(smooth(2, 3), smooth(2, 3, -1.0), g_min=0.0, g_max=5.0)
    table = spec.set_table if sign > 0 else spec.reset_table
    drawn = jumps(spec, table.g[row], sign, seed=row)
    assert stats.kstest(drawn, table_cdf(table, row)).pvalue > 0.001


def test_between_rows_the_distribution_moves_and_does_not_split():
    table = normal_table((0.4, 0.6), (-0.1, 0.1), 0.01, np.linspace(-0.2, 0.2, 801))
    spec = TabularDevice(table, table, g_min=0.0, g_max=1.0)
    drawn = jumps(spec, 0.45, 1)
    assert stats.kstest(drawn, stats.norm(-0.05, 0.01).cdf).pvalue > 0.001
    # Beyond the ends the last row counts.
    assert stats.kstest(jumps(spec, 0.2, 1), stats.norm(-0.1, 0.01).cdf).pvalue > 0.001
    assert stats.kstest(jumps(spec, 0.8, -1), stats.norm(0.1, 0.01).cdf).pvalue > 0.001


def test_a_table_of_two_lumps_and_mass_at_its_ends():
    table = JumpTable(
        g=(0.0, 1.0),
        dg=(-0.2, -0.1, 0.0, 0.1, 0.2),
        cdf=((0.1, 0.4, 0.4, 0.8, 0.9), (0.1, 0.4, 0.4, 0.8, 0.9)),
    )
    drawn = jumps(TabularDevice(table, table), 0.5, 1, number=100_000)
    for jump, probability in ((-0.2, 0.1), (0.2, 0.1)):
        share = np.isclose(drawn, jump).mean()
        assert abs(share - probability) < 4 * (0.09 / 1e5) ** 0.5
    # Nothing falls in the gap but what interpolation between two scores smears (< 0.0012).
    assert ((drawn > -0.099) & (drawn < -0.001)).mean() < 0.0013
    assert abs((drawn <= -0.05).mean() - 0.4) < 4 * (0.24 / 1e5) ** 0.5 + 0.0012


def test_mixed_directions_in_one_call():
    cells = device().fabricate((60_000,), seed=1, dtype=torch.float64)
    cells.write(torch.full((60_000,), 0.5))
    counts = torch.arange(60_000) % 3 - 1
    cells.pulse(counts)
    change = cells.g - 0.5
    assert (change[counts == 0] == 0).all()
    for sign in (1, -1):
        part = change[counts == sign].numpy()
        assert stats.kstest(part, stats.norm(sign * 0.025, 0.02).cdf).pvalue > 0.001


def test_c2c_scales_the_spread_about_the_median():
    assert np.allclose(jumps(device(c2c=0.0), 0.5, 1, 100), 0.025, atol=1e-4)
    half = jumps(device(c2c=0.5), 0.5, 1)
    assert stats.kstest(half, stats.norm(0.025, 0.01).cdf).pvalue > 0.001


def test_d2d_is_a_gain_per_cell():
    cells = device(c2c=0.0, d2d=0.2).fabricate((1000,), seed=0, dtype=torch.float64)
    cells.write(torch.tensor(0.5))
    cells.pulse(1)
    gain = cells.parameter("gain")
    assert torch.allclose(cells.g - 0.5, 0.025 * gain, rtol=1e-2)
    assert abs(gain.std() / 0.2 - 1) < 4 / 2000**0.5


def test_mean_change_is_that_of_the_samples():
    spec = device()
    g = torch.tensor([0.3, 0.47], dtype=torch.float64)
    expected = spec.change(g, torch.tensor([True, False]), spec.constants())
    for k, sign in enumerate((1, -1)):
        drawn = jumps(spec, float(g[k]), sign)
        assert abs(drawn.mean() - float(expected[k])) < 4 * 0.02 / 50_000**0.5


def test_window_is_the_tables_unless_given():
    spec = TabularDevice(smooth(0.1, 1.0), smooth(0.2, 1.5, -1.0))
    assert spec.window == (0.1, 1.5)
    assert TabularDevice(smooth(), smooth(), g_max=0.7).window == (0.0, 0.7)


def test_yaml_round_trip():
    spec = device(d2d=0.1)
    again = Spec.from_dict(yaml.safe_load(yaml.safe_dump(spec.to_dict())))
    assert again == spec
    assert hash(again) == hash(spec)
    assert len(repr(spec)) < 400


def test_the_tables_are_not_in_the_state_dict_but_follow_the_cells():
    cells = device().fabricate((4,))
    assert not any("jumps" in key for key in cells.state_dict())
    cells = cells.to(torch.float64)
    cells.pulse(2)
    assert cells.g.dtype == torch.float64


@needs_tables
def test_every_table_of_the_field_loads():
    stems = real_stems()
    assert len(stems) == 58
    for stem in stems:
        table = JumpTable.load(stem, unit=1e-6)
        assert np.shape(table.cdf) == (len(table.g), len(table.dg))


@needs_tables
@pytest.mark.parametrize(
    ("stem", "unit"),
    [
        ("experimental/optuna_exp_1.8V_set", 1.0),
        ("experimental/optuna_exp_1.35V_reset", 1.0),
        ("fefet/Kriging_set1.5V_1_SD", 1e-6),
        ("fefet/Kriging_reset0.5V_10_SD", 1e-6),
        ("synthetic/target_lc_ns_sd1.2_10000_set", 1.0),
    ],
)
def test_real_tables_are_sampled_as_tabulated(stem, unit):
    table = JumpTable.load(TABLES / stem, unit=unit)
    # Lifted, so that the window cuts no jump.
    lift = max(map(abs, table.dg))
    lifted = table.replace(g=tuple(g + lift for g in table.g))
    spec = TabularDevice(lifted, lifted, g_min=0.0, g_max=lifted.g[-1] + lift)
    for row in (0, len(table.g) // 2, len(table.g) - 1):
        last = len(table.g) - 1 - lifted.g[::-1].index(lifted.g[row])  # of equal rows
        drawn = jumps(spec, lifted.g[row], 1, seed=row)
        cdf = table_cdf(table, last)
        inside = np.sort(drawn[(drawn > table.dg[0]) & (drawn < table.dg[-1])])
        below = (drawn <= table.dg[0] * (1 - 1e-9)).sum()
        rank = (below + np.arange(1, len(inside) + 1)) / len(drawn)
        # Kolmogorov–Smirnov by hand: scipy's takes the jumps of the CDF at its ends for misfit.
        assert (
            np.abs(cdf(inside) - rank).max() < 1.95 / len(drawn) ** 0.5
        )  # Kolmogorov's 0.1 % point


@needs_tables
def test_real_tables_save_and_load(tmp_path):
    spec = TabularDevice.from_tables(TABLES / "experimental" / "optuna_exp_1.65V", d2d=0.1)
    spec.to_tables(tmp_path / "deep" / "mine_1.5V")
    assert (tmp_path / "deep" / "mine_1.5V_set_axis_level_dG.txt").is_file()
    assert TabularDevice.from_tables(tmp_path / "deep" / "mine_1.5V", d2d=0.1) == spec


@needs_tables
def test_shared_axis_is_found_or_given():
    stem = TABLES / "fefet" / "Kriging_set1.5V_10_SD"
    axis = TABLES / "fefet" / "Kriging_set_axis_level_dG.txt"
    assert JumpTable.load(stem) == JumpTable.load(stem, dg_file=axis)


def test_units_in_files(tmp_path):
    table = smooth()
    table.save(tmp_path / "t", unit=1e-3)
    assert np.loadtxt(tmp_path / "t_axis_level_G.txt")[-1] == pytest.approx(1000)
    again = JumpTable.load(tmp_path / "t", unit=1e-3)
    assert np.allclose(again.g, table.g)
    assert again.cdf == table.cdf


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"cdf": ((0.0, 0.6, 0.5), (0.0, 0.5, 1.0))}, "must not decrease along a row.*row 0"),
        ({"cdf": ((0.0, 0.5, 1.2), (0.0, 0.5, 1.0))}, r"must lie in \[0, 1\]"),
        ({"cdf": ((0.0, 1.0), (0.0, 1.0))}, r"shape \[2, 3\].*got \[2, 2\]"),
        ({"cdf": ((0.0, 0.0), (0.5, 0.5), (1.0, 1.0))}, "transposed"),
        ({"cdf": ((0.0, 0.5, 1.0), (0.0, 1.0))}, "cdf must be 2-dimensional"),
        ({"cdf": ((0.0, 0.5, float("nan")), (0.0, 0.5, 1.0))}, "cdf must be finite"),
        ({"cdf": ((0.0, 0.5, 1.0), (0.9, 0.95, 1.0))}, "half of every row.*row 1"),
        ({"g": (1.0, 0.5)}, "g must be >= 0 and not decrease"),
        ({"g": (-1.0, 0.5)}, "g must be >= 0 and not decrease"),
        ({"g": (0.0, 0.5, 1.0)}, r"shape \[3, 3\].*got \[2, 3\]"),
        ({"dg": (-1.0, 0.0, 0.0)}, "dg must increase"),
    ],
)
def test_malformed_tables_are_refused(change, match):
    good = {"g": (0.0, 1.0), "dg": (-1.0, 0.0, 1.0), "cdf": ((0.0, 0.5, 1.0), (0.0, 0.4, 1.0))}
    JumpTable(**good)
    with pytest.raises(ValueError, match=match):
        JumpTable(**{**good, **change})


def test_bad_files_are_refused(tmp_path):
    smooth().save(tmp_path / "t")
    with pytest.raises(FileNotFoundError, match="no ΔG axis"):
        JumpTable.load(tmp_path / "other")
    (tmp_path / "t_axis_level_G.txt").write_text("0.0\nmany\n")
    with pytest.raises(ValueError, match=r"t_axis_level_G\.txt is no table of numbers"):
        JumpTable.load(tmp_path / "t")
    (tmp_path / "t_axis_level_G.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"t_axis_level_G\.txt"):
        JumpTable.load(tmp_path / "t")


def test_bad_device_values_are_refused():
    with pytest.raises(TypeError, match="set_table must be JumpTable"):
        TabularDevice("a.txt", smooth())
    with pytest.raises(ValueError, match="c2c must be >= 0"):
        device(c2c=-1.0)
    with pytest.raises(ValueError, match="g_min must be < g_max"):
        device(g_min=2.0)
    with pytest.raises(ValueError, match="probability must lie in"):
        smooth().quantiles(1.5)


def test_the_benchmark_reads_tables_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import in_situ

    device = presets.get("fefet_3v0")
    device.to_tables(tmp_path / "mine")
    assert in_situ.variants(tmp_path)["tabular_mine"]["device"].set_table == device.set_table
