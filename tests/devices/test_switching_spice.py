"""The linear-drift cell of Biolek's SPICE paper, simulated by ngspice."""

from __future__ import annotations

import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from mho.devices import waveforms
from mho.devices.linear_ion_drift import LinearIonDrift
from mho.devices.windows import Joglekar

DECK = """* linear ion drift, Joglekar's window
.param k=1e4 ron=100 roff=16k
Vin in 0 sin(0 1.2 1)
Bmem in 0 I={{V(in)/(ron*V(x) + roff*(1 - V(x)))}}
Bx 0 x I={{k*V(in)/(ron*V(x) + roff*(1 - V(x)))*(1 - ((2*V(x) - 1)*(2*V(x) - 1))^10)}}
Cx x 0 1 ic={x0}
Rx x 0 1e12
.options reltol=1e-6 abstol=1e-15 vntol=1e-9
.control
tran 0.2m 2 0 0.1m uic
set wr_singlescale
wrdata {out} v(in) i(vin) v(x)
.endc
.end
"""


@pytest.mark.skipif(
    shutil.which("ngspice") is None,
    reason="ngspice is not installed (Debian: apt-get install ngspice): no SPICE reference",
)
def test_biolek_figure_agrees_with_ngspice(tmp_path: Path) -> None:
    x0 = (16e3 - 11e3) / (16e3 - 100)
    out = tmp_path / "loop.data"
    deck = tmp_path / "loop.cir"
    deck.write_text(DECK.format(x0=x0, out=out))
    run = subprocess.run(
        ["ngspice", "-b", str(deck)], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert out.exists(), run.stdout + run.stderr
    time, volts, current, state = np.loadtxt(out).T
    dt = 1e-4
    grid, sine = waveforms.sine(1.2, 1.0, dt=dt, cycles=2.0)
    # The first point of ngspice is at 2 µs.
    assert np.abs(np.interp(grid.numpy(), time, volts) - sine.numpy()).max() < 2e-5

    device = LinearIonDrift(window_function=Joglekar(p=10))
    cells = device.fabricate((), dtype=torch.float64)
    cells.write(1.0 / 11e3)
    found = cells.simulate(1.2 * torch.sin(2 * math.pi * grid.double()), dt=dt).numpy()
    expected = np.interp(grid.numpy(), time, -current)
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()
    assert float(cells.x) == pytest.approx(state[-1], abs=1e-3)
    # The loop opens: resistances of about 11 kΩ at the start and below 2 kΩ at the narrowest.
    assert np.abs(expected).max() > 1.2 / 16e3 * 2
