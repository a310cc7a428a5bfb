"""Bad input to write–verify is refused where it is given, by name."""

import math

import pytest
import torch

from mho.devices.linear import LinearDevice
from mho.devices.vteam import VTEAM
from mho.programming import Pulses, WriteVerify, write_verify

GOOD = Pulses(0.2, 0.01, 0.3, 1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tolerance": 0.0}, "tolerance must be > 0"),
        ({"tolerance": -0.1}, "tolerance must be > 0"),
        ({"tolerance": math.nan}, "tolerance"),
        ({"max_pulses": 0}, "max_pulses must be >= 1"),
        ({"train": 0}, "train must be >= 1"),
        ({"refine": 0.0}, "refine must be > 0"),
        ({"restart": 1.5}, "restart must be >= 0 and <= 1"),
        ({"refractory": -1.0}, "refractory must be >= 0"),
        ({"read_noise": -1.0}, "read_noise"),
        ({"stuck_after": 0}, "stuck_after"),
        ({"relative_to": "range"}, "relative_to must be one of"),
        ({"order": "column"}, "order must be one of"),
        ({"access": "2T1R"}, "access must be one of"),
        ({"access": "1R"}, 'order must be "row" or "cell"'),
        ({"on_failure": "ignore"}, "on_failure must be one of"),
    ],
)
def test_bad_schemes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        WriteVerify(set=GOOD, reset=GOOD, **change)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((0.0, 0.1, 1.0, 1e-9), "start must be > 0"),
        ((0.5, 0.1, 0.4, 1e-9), "stop must be >= 0.5"),
        ((0.5, 0.0, 0.6, 1e-9), "step must be > 0"),
        ((0.5, -0.1, 0.6, 1e-9), "step must be >= 0"),
        ((0.5, 0.1, 0.6, 0.0), "width must be > 0"),
    ],
)
def test_bad_pulses_are_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        Pulses(*numbers)


def test_bad_targets_are_refused_and_nothing_is_changed():
    device = VTEAM()
    cells = device.fabricate((3, 3))
    before = cells.x.clone()
    scheme = WriteVerify(set=GOOD, reset=GOOD)
    bad = torch.full((3, 3), 1e-3)
    bad[1, 1] = math.nan
    with pytest.raises(ValueError, match="target must be finite, but 1 of 9"):
        write_verify(cells, bad, scheme)
    with pytest.raises(ValueError, match=r"target must .* shape \[3, 3\], got \[4\]"):
        write_verify(cells, torch.ones(4), scheme)
    with pytest.raises(ValueError, match="target must be >= 0 S"):
        write_verify(cells, -1e-3, scheme)
    with pytest.raises(ValueError, match="target must be > 0 S where the tolerance is relative"):
        write_verify(cells, 0.0, scheme.replace(relative_to="target"))
    with pytest.raises(ValueError, match="select must have shape"):
        write_verify(cells, 1e-3, scheme, select=torch.ones(2, dtype=torch.bool))
    with pytest.raises(TypeError, match="select must be a mask"):
        write_verify(cells, 1e-3, scheme, select=torch.ones(3, 3))
    held = torch.full((3, 3), math.nan)
    with pytest.raises(ValueError, match="stuck conductances must be finite"):
        cells.break_too(torch.ones(3, 3, dtype=torch.bool), held)
    with pytest.raises(TypeError, match="those of LinearDevice"):
        write_verify(LinearDevice().fabricate((3,)), 1e-5, scheme)
    with pytest.raises(TypeError, match="scheme must be WriteVerify"):
        write_verify(cells, 1e-3, "ISPP")
    assert torch.equal(cells.x, before)


def test_bad_searches_are_refused():
    with pytest.raises(TypeError, match="LinearDevice takes no pulses"):
        WriteVerify.for_device(LinearDevice())
    with pytest.raises(ValueError, match="tolerance"):
        WriteVerify.for_device(VTEAM(), tolerance=0.0)
    with pytest.raises(ValueError, match="steps"):
        WriteVerify.for_device(VTEAM(), steps=1)
    with pytest.raises(ValueError, match="amplitude must be > 0"):
        WriteVerify.for_device(VTEAM(), amplitude=-1.0)
    with pytest.raises(ValueError, match="give WriteVerify its pulses"):
        WriteVerify.for_device(VTEAM(v_on=-100.0))
