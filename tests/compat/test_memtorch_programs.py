"""Programs of users of MemTorch, unmodified, by ``python -m mho.compat``.

Each prints numbers; here they are checked by physics, or by plain computation.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import mho

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

SCRIPTS = Path(__file__).parent / "scripts"
NUMBER = r"[-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?"

pytestmark = pytest.mark.slow


def environment():
    """Return what a program runs in: the mho under test, wherever it runs, and no display."""
    here = os.fspath(Path(mho.__file__).parents[1])
    path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}


def output_of(name, folder):
    """Run a program in a folder, without a display, and return what it prints.

    Programs with workers of their own leave none behind, whatever comes.
    """
    assert "mho" not in re.findall(r"\w+", (SCRIPTS / name).read_text())
    path = shutil.copy(SCRIPTS / name, folder)
    process = subprocess.Popen(
        [sys.executable, "-m", "mho.compat", path],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=180)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, f"{out[-2000:]}\n{err[-6000:]}"
    return out


class Said(dict):
    """The lines of an output: all numbers of a line, by the words before its first number."""

    def __init__(self, text):
        super().__init__()
        self.text = text
        for line in text.splitlines():
            head = re.match(r"[^\d\n]*?(?=\s*[-+]?\d|\s*(?:True|False)\b|$)", line).group().strip()
            numbers = [float(x) for x in re.findall(rf"(?<![\w.]){NUMBER}(?![\w])", line)]
            self.setdefault(head, []).append(numbers)

    def one(self, head):
        """Return the only number of the only line with this head."""
        ((number,),) = self[head]
        return number

    def has(self, line):
        """Tell whether a line is in the output as it is here."""
        return line in self.text.splitlines()


def test_a_convolutional_network_on_images(tmp_path):
    said = Said(output_of("memtorch_cnn.py", tmp_path))
    digital = said.one("digital")
    assert digital > 90
    # 397 test images: two points are eight of them.
    assert said.one("patched") == pytest.approx(digital, abs=2)
    assert said.has("conv layers 3 linear layers 2")
    assert said.one("legacy difference") == 0
    grid = {
        (shape, int(bits)): float(accuracy)
        for shape, bits, accuracy in re.findall(
            r"^tiles (\w+) bits (\d+) accuracy ([\d.]+)$", said.text, re.MULTILINE
        )
    }
    assert {shape for shape, _ in grid} == {"none", "128x128", "32x16"}
    for (shape, bits), accuracy in grid.items():
        if bits == 10:
            assert accuracy == pytest.approx(digital, abs=2), shape
        if bits == 2:
            assert accuracy < grid[shape, 10] - 5, shape
    assert said.one("correlation") == pytest.approx(1, abs=1e-5)
    (_, thin), (_, thick) = said["line"]
    assert thin == pytest.approx(digital, abs=2)
    assert thick <= thin + 1
    rows = (tmp_path / "cnn.csv").read_text().splitlines()
    assert len(rows) == 1 + len(grid)
    assert (tmp_path / "cnn.png").stat().st_size > 1000


def test_a_grid_on_several_processes(tmp_path):
    said = Said(output_of("memtorch_grid.py", tmp_path))
    digital = said.one("digital")
    assert digital > 85
    assert said.one("patched") == pytest.approx(digital, abs=1)
    bits, sigma, states, faults = (
        [accuracy for _, accuracy in sorted(said[kind])]
        for kind in ("bits", "sigma", "states", "faults")
    )
    assert [len(kind) for kind in (bits, sigma, states, faults)] == [4, 3, 3, 3]
    assert bits[0] < bits[-1] - 3
    assert bits[-1] == pytest.approx(digital, abs=1)
    assert sigma[0] == pytest.approx(digital, abs=0.01)
    assert states[0] < states[-1]
    assert states[-1] == pytest.approx(digital, abs=1.5)
    assert faults[0] > faults[1] + 5 > faults[2] + 10
    for line in ("other processes True", "spawned the same True", "same version True"):
        assert said.has(line), line
    for asked, found, before in said["faults asked"]:
        # 20,000 cells, of which a whole number fails.
        assert found == pytest.approx(asked, abs=1e-4)
        assert before < 1e-3


def test_writing_verifying_and_its_energy(tmp_path):
    said = Said(output_of("memtorch_write_verify.py", tmp_path))
    assert said.one("devices written") == said.one("points") == 100
    assert said.one("worst error") <= 0.02
    assert said.one("worst deviation") <= 0.0201  # the matrix is in single precision
    assert said.has("matrix follows True")
    # A signal costs what its samples cost one by one, and ends where they end.
    assert said.one("energy ratio") == pytest.approx(1, abs=2e-6)
    assert said.one("same end") < 1e-9
    assert said.has("energy within True")
    ((devices, correlation),) = said["layer devices"]
    assert devices == 2 * 8 * 4
    assert correlation > 0.999
    ((total, parts),) = said["total energy"]
    assert total == pytest.approx(parts, rel=1e-3)
    assert total > 0
    assert said.has("energies positive True")
    assert len(said["disturb energy"]) == 2
    for spent, bound, rises in said["disturb energy"]:
        assert 0.9 * bound < spent <= 1.0001 * bound
        assert rises < 1e-9
    ((tiled, error),) = said["tiled devices"]
    assert tiled == 6 * 7
    assert error <= 0.05
    signs = {"LinearIonDrift sign": 1, "Data_Driven sign": -1, "VTEAM sign": -1}
    for model, sign in signs.items():
        ((found, up, down),) = said[model]
        assert found == sign
        assert 1 <= up < 20000, model
        assert 1 <= down < 20000, model
    assert said.one("naive error") <= 0.02
    assert len((tmp_path / "ledger.csv").read_text().splitlines()) == 100


def test_devices_of_ones_own(tmp_path):
    said = Said(output_of("memtorch_own_devices.py", tmp_path))
    ((found, expected, resistance),) = said["pulsed"]
    assert found == pytest.approx(expected, rel=1e-6)
    assert resistance == pytest.approx(1 / expected, rel=1e-4)
    ((pinched, largest),) = said["pinched"]
    assert pinched < 1e-6 * largest
    ((mean, std),) = said["etas mean"]
    assert mean == pytest.approx(0.1, abs=0.006)  # four errors of a mean of 200
    assert std == pytest.approx(0.02, rel=0.25)
    assert said.one("lifted by eta") < 1e-6
    ((programmed, pulses),) = said["own programmed"]
    assert abs(programmed - 1) <= 0.1
    assert pulses >= 2
    networks = re.findall(r"^network of (\w+) error ([\d.]+)$", said.text, re.MULTILINE)
    assert len(networks) == 6
    for name, error in networks:
        assert float(error) < 0.2, name
    assert said.has("writes at least once True devices 512")
    assert said.one("own faults") == pytest.approx(0.5, abs=0.003)
    assert said.one("half speed ratio") == pytest.approx(0.5, abs=1e-3)
    assert said.one("in a crossbar") == pytest.approx(0.5, abs=1e-3)
    assert said.one("sinh current") < 1e-5
    assert said.one("sinh layer") < 1e-4
    ((joglekar, biolek, first, second),) = said["windows moved"]
    assert joglekar == pytest.approx(first, rel=5e-3)
    assert biolek == pytest.approx(second, rel=5e-3)
    assert said.has("frozen True")
    assert said.has("counted 42")
    ((mean, spread),) = said["noisy mean"]
    assert mean == pytest.approx(1, abs=0.005)
    assert spread == pytest.approx(0.05, rel=0.07)


def test_retention_and_endurance(tmp_path):
    said = Said(output_of("memtorch_retention.py", tmp_path))
    digital = said.one("digital")
    assert digital > 85
    for line in (
        "pickled the same True",
        "loaded the same True",
        "loaded devices True",
        "tensors in the state True",
        "p_0 at the optimum at least True",
    ):
        assert said.has(line), line
    assert said.one("missing") == 0
    assert said.one("digital again") == digital
    assert said.one("drift exponent") == pytest.approx(-0.05, abs=1e-3)
    times = said["time"]
    assert [row[0] for row in times] == [1, 1e2, 1e4, 1e6]
    assert times[-1][1] < times[0][1] - 3
    for _, _, deviation, tuned, tuned_deviation in times:
        assert tuned == pytest.approx(digital, abs=2)
        assert 0 <= deviation < 5
        assert 0 <= tuned_deviation < 2
    ((found, expected),) = said["stretched"]
    assert found == pytest.approx(expected, rel=1e-3)
    assert said.one("devices follow") < 1e-6
    assert said.one("own tuned") == pytest.approx(digital, abs=2)
    assert said.one("all failed") == 1
    (resistances,) = said["gradual"]
    # A power law of exponent -0.2 beyond the threshold.
    for decades, resistance in zip((0, 1, 2, 3), resistances, strict=True):
        assert resistance == pytest.approx(1e5 * 10 ** (-0.2 * decades), rel=1e-3)


def test_a_detector_of_seizures(tmp_path):
    said = Said(output_of("memtorch_seizure.py", tmp_path))
    (digital,), (patched,) = said["digital sensitivity"], said["patched sensitivity"]
    assert min(digital) > 90
    assert patched == pytest.approx(digital, abs=2)
    states = {int(row[0]): row[1] for row in said["states"]}
    assert sorted(states) == [2, 17, 32]
    assert states[2] <= states[32]
    assert states[32] == pytest.approx(digital[2], abs=3)
    rates = dict(said["rate"])
    assert rates[0.0] == pytest.approx(digital[2], abs=3)
    assert rates[0.5] < rates[0.0] - 10
    assert said.one("groups and dilation") < 1e-3
    assert said.has("types ['Conv1d', 'Conv1d', 'Linear', 'Linear']")
    for network in ("Recurrent", "Volumes"):
        ((accuracy, found, difference),) = said[f"{network} digital"]
        assert accuracy > 90
        assert found == pytest.approx(accuracy, abs=1)
        assert difference < 1e-3
        assert said.one(f"{network} legacy") < 1e-5
    assert said.has("by the star True True")
    assert said.has("supported True True")


def test_crossbars_by_hand(tmp_path):
    said = Said(output_of("memtorch_by_hand.py", tmp_path))
    # Single precision: what all ways of reading the same matrix differ by.
    for name in ("matrix", "devices", "tiled", "tiled devices", "inference constant"):
        assert said.one(name) < 1e-5, name
    assert said.one("row") < 1e-8
    rms = [row[1] for row in said["bits"]]
    assert len(rms) == 3
    # Four bits more: steps of a sixteenth.
    assert 8 < rms[0] / rms[1] < 32
    assert 8 < rms[1] / rms[2] < 32
    assert said.has("tiles (8, 8, 16) (8, 8, 16) (30, 20) (8, 16)")
    assert said.has("padded (24, 32) True True")
    (drops,) = said["drop"]
    assert drops == sorted(drops)
    assert 0 < drops[0] < 0.01
    assert drops[-1] > 0.5
    assert said.has("columns monotone True")
    assert said.one("kirchhoff") < 1e-5
    assert said.one("no drop") < 1e-4
    assert said.has("batch (3, 16)")
    for bits, levels, error in said["quantize bits"]:
        assert levels <= 2**bits
        assert error <= 2 / 2**bits * (1 + 1e-3)
    assert said.has("levels 16 from -0.50 to 0.50")
    assert said.has("integers 4 levels ['linear', 'log']")
    assert said.has("overridden True")
    assert said.has("Jogelkar [0. 1. 0.]")
    assert said.has("Prodromakis [0.   0.25 0.  ]")
    assert said.has("Biolek [0. 1. 1. 0.]")
    models = re.findall(r"^(\w+) pinched (\S+) loop (\w+) passive (\w+)$", said.text, re.MULTILINE)
    assert len(models) == 5
    for name, pinched, loop, passive in models:
        assert float(pinched) < 1e-6, name
        assert loop == passive == "True", name
        assert (tmp_path / f"{name}.png").stat().st_size > 1000
    assert said.one("ohm") < 1e-9
    assert re.search(r"^ohm \S+ True$", said.text, re.MULTILINE)
    ((area, duration),) = said["pulses area"]
    assert area == pytest.approx(-3 * 1e-3 * 1.5, rel=1e-3)
    assert duration == pytest.approx(9e-3, abs=1.1e-4)
    ((mean, std),) = said["draws mean"]
    assert mean == pytest.approx(100, abs=2.5)
    assert std == pytest.approx(10, rel=0.2)
    assert said.has("unpacked True 1000 1")
    assert said.has("reference True")


def test_what_people_try_out_line_by_line(tmp_path):
    out = output_of("memtorch_habits.py", tmp_path)
    assert re.search(r"^habits \d+ failed 0$", out, re.MULTILINE), out


def test_a_notebook_in_the_manner_of_a_tutorial(tmp_path):
    said = Said(output_of("memtorch_tutorial.ipynb", tmp_path))
    digital = said.one("digital")
    assert digital > 80
    assert said.one("patched") == pytest.approx(digital, abs=2)
    layers = re.findall(r"^layer (\w+) crossbars 2 tiles (\d)$", said.text, re.MULTILINE)
    assert layers == [("conv1", "1"), ("conv2", "1"), ("fc", "2")]
    states = [row[1] for row in said["states"]]
    assert len(states) == 3
    assert states[0] < states[-1]
    assert said.one("faulty") < digital - 10
    assert said.one("nonlinear") == pytest.approx(digital, abs=3)
    ((_, ideal, deviation), *_) = said["sigma"]
    assert ideal == pytest.approx(digital, abs=1)
    assert deviation == 0
    ((mean, std),) = said["r_on mean"]
    assert mean == pytest.approx(5000, abs=25)
    assert std == pytest.approx(100, rel=0.15)
    assert said.one("written") == pytest.approx(1e-4, rel=1e-3)
    assert (tmp_path / "nb_states.svg").stat().st_size > 1000
