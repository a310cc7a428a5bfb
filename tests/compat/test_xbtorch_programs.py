"""Programs as users of XBTorch write them: each runs unchanged, and what it prints is right."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mho

SCRIPTS = Path(__file__).parent / "scripts"
_SOURCE = str(Path(mho.__file__).resolve().parents[1])  # programs run in a folder of their own
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]\d+)?")

pytestmark = pytest.mark.slow


class Said:
    """What a program printed, line by line, by the first word of each line."""

    def __init__(self, text):
        self.lines = {}
        for line in text.splitlines():
            head, _, rest = line.strip().partition(" ")
            self.lines.setdefault(head, []).append(rest)

    def text(self, head):
        """Return the rest of the only line that begins with a word."""
        (rest,) = self.lines[head]
        return rest

    def rows(self, head):
        """Return the numbers of all lines that begin with a word."""
        return [[float(n) for n in _NUMBER.findall(rest)] for rest in self.lines[head]]

    def row(self, head):
        """Return the numbers of the only line that begins with a word."""
        (row,) = self.rows(head)
        return row

    def number(self, head):
        """Return the first number of the only line that begins with a word."""
        return self.row(head)[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run a program once, by the command, in a process and a folder of its own."""
    done = {}

    def run_one(name):
        if name not in done:
            done[name] = subprocess.run(
                [sys.executable, "-m", "mho.compat", str(SCRIPTS / name)],
                cwd=tmp_path_factory.mktemp("program"),
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join((_SOURCE, os.environ.get("PYTHONPATH", ""))),
                    "OMP_NUM_THREADS": "1",
                    "MPLBACKEND": "Agg",
                },
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
        assert done[name].returncode == 0, done[name].stderr[-3000:]
        said = Said(done[name].stdout)
        assert "done" in said.lines
        return said

    return run_one


def test_programs_know_nothing_of_mho():
    names = [p for p in sorted(SCRIPTS.glob("xbtorch_*")) if p.suffix in (".py", ".ipynb")]
    assert len(names) >= 6
    for path in names:
        text = path.read_text()
        assert not re.search(r"^\W*(import|from) mho", text, re.MULTILINE), path.name
        assert "xbtorch.initialize(" in text


# ── converters ───────────────────────────────────────────────────────────────────────────────────


def test_the_curve_of_an_analytical_device(run):
    said = run("xbtorch_converters.py")
    a, b = said.number("A_set"), said.number("B_set_nS")
    # G(P) = B (1 - exp(-P/A)) + G_min, from 3 to 38 nS in 500 pulses.
    curve = [b * (1 - math.exp(-p / a)) + 3 for p in range(0, 501, 50)]
    assert said.row("curve_nS") == pytest.approx(curve, abs=0.002)
    assert said.row("curve_nS")[-1] == pytest.approx(38, abs=0.002)
    assert said.number("round_trip") < 0.05
    assert said.number("levels") == 500


def test_training_on_cells_and_deployment(run):
    said = run("xbtorch_converters.py")
    digital = said.number("digital")
    assert digital > 92
    assert said.number("ideal") > digital - 3
    assert said.number("fitted") > digital - 3
    assert said.number("last_lr") == pytest.approx(0.2 * 0.7**3, abs=1e-4)
    assert said.text("inside") == "True"
    for name in ("changed_in_place", "clone_agrees", "back_to_software"):
        assert said.text(name) == "True", name


def test_converters_halve_their_error_by_every_bit(run):
    said = run("xbtorch_converters.py")
    table = said.rows("bits")
    assert [row[0] for row in table] == list(range(2, 11))
    for which in ("slope_adc", "slope_dac"):
        assert said.number(which) == pytest.approx(-1, abs=0.1)
    assert table[-1][3] == pytest.approx(said.number("software"), abs=1)
    assert table[0][3] < table[-1][3] - 20
    small, middle, large = said.row("noise_spread")
    assert middle / small == pytest.approx(2, rel=0.1)
    assert large / middle == pytest.approx(2, rel=0.1)


# ── retention ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["chip", "cells"])
def test_the_law_of_drift_is_recovered(run, kind):
    said = run("xbtorch_retention.py")
    exponent, spread = said.row(f"{kind}_nu")
    assert exponent == pytest.approx(0.06, abs=0.001)
    assert spread == pytest.approx(0.015, rel=0.05)
    # Pairs of equal cells come apart by sqrt(2) of what each does.
    apart, mean, expected = said.row(f"{kind}_pairs")
    left = 10**-0.06  # cells of 50 µS, in a window of 50 µS
    assert expected == pytest.approx(math.sqrt(2) * 0.015 * math.log(10) * left, abs=1e-4)
    assert apart == pytest.approx(expected, rel=0.05)
    assert abs(mean) < 0.005
    assert abs(said.number(f"layers_{kind}_correlation")) < 0.1


def test_retention_of_one_board(run):
    said = run("xbtorch_retention.py")
    assert said.text("same_cells") == "True"
    error, expected = said.row("error")
    assert error == pytest.approx(expected, abs=0.1)
    for time, left in said.rows("aged"):
        assert left == pytest.approx(time**-0.06, abs=1e-3)


def test_retention_over_seeds_and_processes(run):
    said = run("xbtorch_retention.py")
    assert said.row("states") == [-1, 0, 1]
    assert said.number("workers") >= 1
    assert said.text("spawned_agrees") == "True"
    for kind in ("chip", "cells"):
        table = said.rows(f"accuracy_{kind}")
        assert [row[0] for row in table] == [1, 10, 100, 1000, 10000]
        assert table[0][1] > 85
        assert table[0][2] == 0  # at t0 nothing has drifted, whatever the seed
        assert table[-1][1] < table[0][1] - 10
        assert said.text(f"differs_{kind}") == "True"


# ── accelerators of one's own ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["chip", "cells"])
def test_what_an_accelerator_overrides_counts(run, kind):
    said = run("xbtorch_own_accelerator.py")
    assert "'PulseWidth'" in said.text("registered")
    assert said.number(f"{kind}_error") < 0.01
    assert said.number(f"{kind}_decayed") == pytest.approx(0.75**2, abs=0.01)
    assert said.number(f"{kind}_dead") == 0
    read = "read_chip" if kind == "chip" else "read_chip_stateless"
    for what in ("DAC", "ADC", "drift", read, "encode"):
        assert said.text(f"called_{kind}_{what}") == "True", what
    assert said.row("shelf") == [0, 24, 48, 56]


def test_stuck_cells(run):
    said = run("xbtorch_own_accelerator.py")
    assert said.number("stuck_fraction") == pytest.approx(0.12, abs=2e-4)
    assert said.row("stuck_values") == [10, 500]
    assert said.number("stuck_high_share") == pytest.approx(0.5, abs=0.05)
    assert said.text("stuck_read") == "True"
    assert said.number("unwritten") == pytest.approx(200 * 100 * 0.88, abs=1)
    assert said.text("healthy_written") == "True"
    assert said.text("overlap") == "True False"
    assert said.row("plotted") == [200, 100]


def test_fault_tolerance(run):
    said = run("xbtorch_own_accelerator.py")
    error = {name: said.number(f"scheme_{name}") for name in ("plain", "copies", "LEA1", "LEA2")}
    assert said.number("healthy_plain") < 0.01
    assert said.number("healthy_MAO") < 0.01
    # Six copies are at least sqrt(6)/1.5 times better than one, and the best three of them more.
    assert error["copies"] < error["plain"] / 1.6
    assert error["LEA1"] < error["copies"]
    assert error["LEA2"] < error["copies"]
    assert said.number("scheme_MAO") < 0.05
    assert said.number("real_LEA1") < said.number("real_plain")
    assert said.number("taken") == 24  # members, layers, and both polarities
    committee, single = said.row("committee")
    assert committee > single
    assert said.number("ideal_encoding") < 1e-3


# ── WAGE and the board ───────────────────────────────────────────────────────────────────────────


def test_ternary_weights(run):
    said = run("xbtorch_wage_daffodil.py")
    assert said.number("ternary") > 75
    assert said.row("values") == [3, 3]
    assert said.text("signs") == "True"
    wage = "WAGEQuantizer"
    assert said.text("layers").split() == [wage, "Linear", "ReLU", wage, "Linear", wage]
    assert said.number("four_bits") > said.number("ternary") - 3
    assert said.number("on_cells") > 30


def test_own_quantisers_count(run):
    said = run("xbtorch_wage_daffodil.py")
    assert said.number("own") > 60
    assert said.text("own_calls") == "weight=True grad=True clip=True act=True"
    assert said.number("own_lr") == pytest.approx(4 * 0.85**5, abs=1e-3)
    off_grid, largest = said.row("own_grid")
    assert off_grid < 1e-6
    assert largest <= 1
    assert said.number("frozen") == 0
    assert said.row("steps") == pytest.approx([2 / 1024, 2 / 1024], abs=1e-6)


def test_functions_of_wage(run):
    said = run("xbtorch_wage_daffodil.py")
    assert said.row("C") == pytest.approx([0.5, -0.2])
    assert said.row("QW") == [0.5, 0, -0.5]
    assert said.row("QG") == [8 / 128, -4 / 128, 0]
    assert said.row("fixed") == [38 / 128, 127 / 128]
    assert said.row("act") == [38 / 128, 127 / 128]


def test_daffodil(run):
    said = run("xbtorch_wage_daffodil.py")
    for name in ("fixed8", "daffodil"):
        before, after, error = said.row(name)
        assert after == pytest.approx(before, abs=3), name
        assert error < 0.1, name
    before, after, error = said.row("daffodil_noisy")
    assert after > before - 15
    assert said.row("fixed2")[2] > 0.3
    assert said.number("dac_volts") <= 2.5 / 4096 + 1e-6  # half a step of 5 V / 4096
    assert said.number("dac_inverse") == 0
    assert said.number("adc_inverse") <= 1.25 / 4096 + 1e-6
    assert said.row("board") == [12, 4096, 2.5, 2.5]


# ── low rank, devices, landscapes ────────────────────────────────────────────────────────────────


def test_decompositions(run):
    said = run("xbtorch_low_rank.py")
    plain, outer = said.row("plain")
    assert outer == pytest.approx(plain, abs=1)
    assert said.number("outer_same") < 1e-3
    assert said.number("svd_same") < 1e-3
    first, _, third = said.rows("rank")
    assert min(first[1:]) > 70
    assert min(third[1:]) > plain - 6
    assert said.number("adam") > 90
    assert said.number("own") > 90
    assert said.row("own_asked")[0] == 100  # 5 epochs, 10 batches, 2 layers
    assert said.text("own_asked").startswith("100 ((48, 20), (48, 16), (16, 20))")
    assert said.number("step_rank") == 2
    assert said.number("eckart_young") < 1e-3


def test_gradients_of_several_batches_are_decomposed_as_one(run):
    assert run("xbtorch_low_rank.py").number("accumulated") < 1e-3


def test_devices_of_ones_own(run):
    said = run("xbtorch_low_rank.py")
    assert said.number("ratchet") > 90
    assert said.text("ratchet_cells") == "(16, 20) (5, 16)"
    moved, dead = said.row("dead_moved")
    assert moved == 0
    assert 0.06 < dead < 0.14
    assert said.number("on_grid") < 0.01
    assert said.number("ratchet_sweep") == pytest.approx(20, abs=1e-3)
    assert said.text("watched").endswith("asked True")
    assert said.number("half_top_nS") == pytest.approx(20, abs=0.01)


def test_devices_are_changed_in_use(run):
    said = run("xbtorch_low_rank.py")
    assert said.row("c2c_nS") == pytest.approx([0, 0.35, 0.70], abs=0.03)
    straight, bent = said.row("bend")
    assert straight == pytest.approx(1, abs=0.02)
    assert bent > 5
    assert said.text("d2d_differs") == "True original 0.0"
    assert said.number("resumed") == said.number("ratchet")


def test_landscape(run):
    said = run("xbtorch_low_rank.py")
    assert said.text("pca") == "(9, 2) (2, 320) 0.00000"
    assert said.number("random_orthonormal") < 1e-5
    assert said.text("grid") == "(7, 7) (7, 7) (7, 7)"
    assert said.number("centre") < 1e-4
    assert said.text("rim_higher") == "True"


# ── the notebook ─────────────────────────────────────────────────────────────────────────────────


def test_a_device_of_measured_pulses(run):
    said = run("xbtorch_devices.ipynb")
    assert said.text("main") == "__main__"
    assert said.number("ideal_off_line") < 0.001
    for name in ("AnalyticalIdeal", "AnalyticalReal", "TabularAnalyticalReal"):
        length, start, top, bottom = said.row(f"sweep_{name}")
        assert length == 501
        assert start == pytest.approx(3, abs=0.1)
        assert top == pytest.approx(38, abs=2)
        assert 1 < bottom < 5
    assert said.text("points") == "(400, 2) (400, 2)"
    lowest, highest = said.row("cdf")[-2:]
    assert lowest < 0.05
    assert highest > 0.95
    assert said.number("kriging_mean_off") < 0.15
    # 1 % of the window of 35 nS; the default epsilon may add 0.1 nS.
    assert said.number("kriging_std_nS") == pytest.approx(0.40, abs=0.08)
    for head in ("jump_+1", "jump_-1"):
        mean, spread, wanted = said.row(head)
        assert mean == pytest.approx(wanted, abs=0.05)
        assert spread == pytest.approx(said.number("kriging_std_nS"), rel=0.1)
    assert said.text("tables") == "(80,) (80,) (80, 80) 100"


def test_networks_of_the_notebook(run):
    said = run("xbtorch_devices.ipynb")
    assert said.number("cnn") > 80
    assert said.text("cnn").endswith("cm (10, 10) 597 falls True")
    table = said.rows("cnn_bits")
    assert [row[0] for row in table] == [3, 6, 9]
    assert table[-1][1] == pytest.approx(said.number("cnn"), abs=1.5)
    for kind in ("RNN", "LSTM"):
        accuracy, agrees, error = said.row(kind)
        assert accuracy > 85, kind
        assert agrees > 97, kind
        assert error < 0.05, kind
    before, after, again, left, every = said.row("transformer")
    assert after == pytest.approx(before, abs=3)
    assert again == before
    assert (left, every) == (1, 10)
    assert 0 < said.number("transformer_error") < 0.05
