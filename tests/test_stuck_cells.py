"""Cells that are known to be broken: where they lie, in populations of any number of dimensions."""

import pytest
import torch

from mho.devices import LinearDevice
from mho.effects import StuckAt, StuckCells

DEVICE = LinearDevice(1e-6, 1e-4)
PLACES = ((0, 1, 3), (1, 0, 2), (1, 2, 0))
READ = (5e-5, 0.0, 2e-4)


def cells(places, conductances, shape):
    stuck = StuckCells(places=places, conductances=conductances)
    return DEVICE.cells_type((DEVICE, stuck), shape, dtype=torch.float64)


def test_every_place_is_its_slice_row_and_column():
    made = cells(PLACES, READ, (2, 3, 4))
    made.program(torch.tensor(3e-5, dtype=torch.float64))
    expected = torch.full((2, 3, 4), 3e-5, dtype=torch.float64)
    for place, g in zip(PLACES, READ, strict=True):
        expected[place] = g
    assert torch.equal(made.g, expected)
    assert torch.equal(made.stuck, expected != 3e-5)


def test_what_a_population_lacks_in_dimensions_is_of_length_one():
    made = cells(((0, 1, 3),), (5e-5,), (3, 4))
    assert made.stuck.nonzero().tolist() == [[1, 3]]
    made = cells(((0, 0, 3),), (5e-5,), (4,))
    assert made.stuck.nonzero().tolist() == [[3]]


@pytest.mark.parametrize("place", [(2, 0, 0), (0, 3, 0), (0, 0, 4)])
def test_the_first_place_outside_is_refused(place):
    with pytest.raises(ValueError, match="must lie inside"):
        cells((place,), (5e-5,), (2, 3, 4))


@pytest.mark.parametrize(
    ("places", "conductances", "message"),
    [
        (((0, 0, 0), (0, 0, 1)), (1e-6,), "as many conductances"),
        (((0, 0, 0), (0, 0, 0)), (1e-6, 1e-6), "once"),
        (((0, 0),), (1e-6,), "slice, row, column"),
        (((0, 0, -1),), (1e-6,), "every index"),
        (((0, 0, 0),), (-1e-9,), "conductances must be >= 0"),
    ],
)
def test_what_names_no_cells_is_refused(places, conductances, message):
    with pytest.raises(ValueError, match=message):
        StuckCells(places=places, conductances=conductances)


def test_no_places_break_nothing():
    assert cells((), (), (2, 3)).stuck is None


def test_shares_of_broken_cells_are_one_at_the_most():
    assert StuckAt(low=0.5, high=0.25, unformed=0.25)
    with pytest.raises(ValueError, match=r"low \+ high \+ unformed must be <= 1, got 1.1"):
        StuckAt(low=0.6, high=0.5)
