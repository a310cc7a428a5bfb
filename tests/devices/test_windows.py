"""Window functions: where they vanish, where they do not, and their published shapes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mho.core.spec import Spec
from mho.devices.windows import Biolek, Joglekar, Kvatinsky, Prodromakis, Rectangular, Window

WINDOWS = [Rectangular(), Joglekar(p=2), Biolek(p=2), Prodromakis(p=2, j=1.3), Kvatinsky()]
states = st.floats(0.0, 1.0)
directions = st.sampled_from([-1.0, 1.0])
powers = st.floats(0.5, 10.0)


@given(p=powers, i=directions)
def test_joglekar_vanishes_at_both_bounds_and_is_one_in_the_middle(p: float, i: float) -> None:
    window = Joglekar(p=p)
    assert window(0.0, i) == 0.0
    assert window(1.0, i) == 0.0
    assert window(0.5, i) == 1.0


@given(p=powers, j=st.floats(0.1, 3.0), i=directions)
def test_prodromakis_vanishes_at_both_bounds(p: float, j: float, i: float) -> None:
    window = Prodromakis(p=p, j=j)
    assert window(0.0, i) == 0.0
    assert window(1.0, i) == 0.0
    assert window(0.5, i) == pytest.approx(j * (1 - 0.75**p))


@given(p=powers)
def test_biolek_vanishes_at_the_bound_ahead_only(p: float) -> None:
    window = Biolek(p=p)
    assert window(1.0, 1.0) == 0.0
    assert window(0.0, -1.0) == 0.0
    assert window(0.0, 1.0) == 1.0
    assert window(1.0, -1.0) == 1.0


def test_rectangular_stops_motion_at_the_bound_ahead_only() -> None:
    window = Rectangular()
    assert [window(x, 1.0) for x in (0.0, 0.5, 1.0)] == [1.0, 1.0, 0.0]
    assert [window(x, -1.0) for x in (0.0, 0.5, 1.0)] == [0.0, 1.0, 1.0]


@given(x=states)
def test_kvatinsky_is_the_published_formula_in_w(x: float) -> None:
    w = 3.0 * (1.0 - x)
    window = Kvatinsky(a_off=1.2 / 3, a_on=1.8 / 3, w_c=0.107 / 3)
    off = math.exp(-math.exp((w - 1.2) / 0.107))
    on = math.exp(-math.exp((1.8 - w) / 0.107))
    assert window(x, -1.0) == pytest.approx(off, abs=1e-12)
    assert window(x, 1.0) == pytest.approx(on, abs=1e-12)


@pytest.mark.parametrize("window", WINDOWS, ids=lambda w: type(w).__name__)
@given(x=states, i=directions)
def test_numbers_and_tensors_agree(window: Window, x: float, i: float) -> None:
    found = window(torch.tensor([x], dtype=torch.float64), torch.tensor(i, dtype=torch.float64))
    assert found.dtype == torch.float64
    assert float(found) == pytest.approx(window(x, i), abs=1e-14)
    assert 0.0 <= window(x, i) <= 1.3


@pytest.mark.parametrize("window", WINDOWS, ids=lambda w: type(w).__name__)
def test_windows_round_trip_through_a_dict(window: Window) -> None:
    assert Spec.from_dict(window.to_dict()) == window


@pytest.mark.parametrize("kind", [Joglekar, Biolek, Prodromakis])
def test_bad_steepness_is_refused(kind: type) -> None:
    with pytest.raises(ValueError, match="p must be > 0"):
        kind(p=0)
    with pytest.raises(ValueError, match="w_c must be > 0"):
        Kvatinsky(w_c=-1.0)
