"""Where regions go: never on top of each other, greedy least defective, random fair."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mho.chip.placement import Region, Windows, integral, no_room, place, window_counts


def assert_disjoint(regions, shape):
    covered = torch.zeros(shape, dtype=torch.int32)
    for region in regions:
        assert region.row >= 0
        assert region.bottom <= shape[0]
        assert region.col >= 0
        assert region.right <= shape[1]
        region.of(covered).add_(1)
    assert int(covered.max()) <= 1
    assert int(covered.sum()) == sum(r.cells for r in regions)


sizes = st.lists(st.tuples(st.integers(1, 14), st.integers(1, 14)), min_size=1, max_size=40)


@settings(max_examples=120)
@given(sizes, st.sampled_from(["greedy", "random", "packed"]), st.integers(0, 2**31))
def test_regions_never_overlap(sizes, strategy, seed):
    shape = (37, 29)
    source = torch.Generator().manual_seed(seed)
    defects = torch.rand(shape, generator=source) < 0.2
    found = place(
        sizes, shape, [], strategy=strategy, sums=integral(defects), source=source
    )  # ~20 regions a case, thousands in all
    assert_disjoint([r for r in found if r is not None], shape)


@pytest.mark.parametrize("strategy", ["greedy", "random", "packed"])
def test_thousands_of_placements_and_removals(strategy):
    shape, taken = (120, 90), []
    source = torch.Generator().manual_seed(0)
    sums = integral(torch.rand(shape, generator=source) < 0.1)
    placed = 0
    for size in torch.randint(1, 30, (2000, 2), generator=source).tolist():
        (region,) = place([tuple(size)], shape, taken, strategy=strategy, sums=sums, source=source)
        if region is None or len(taken) > 25:
            taken.pop(int(torch.randint(len(taken), (), generator=source)))
        else:
            assert not any(region.overlaps(other) for other in taken)
            taken.append(region)
            placed += 1
    assert_disjoint(taken, shape)
    assert placed > 900


def test_window_counts_are_sums_of_the_mask():
    defects = torch.rand(13, 17) < 0.3
    counts = window_counts(integral(defects), 4, 5)
    naive = [[int(defects[r : r + 4, c : c + 5].sum()) for c in range(13)] for r in range(10)]
    assert counts.tolist() == naive


def test_greedy_takes_the_least_defective_free_window():
    source = torch.Generator().manual_seed(3)
    defects = torch.rand(20, 22, generator=source) < 0.3
    taken = [Region(3, 4, 6, 7)]
    (found,) = place([(5, 6)], (20, 22), taken, strategy="greedy", sums=integral(defects))
    best = min(
        int(region.of(defects).sum())
        for row in range(16)
        for col in range(17)
        if not (region := Region(row, col, 5, 6)).overlaps(taken[0])
    )
    assert int(found.of(defects).sum()) == best
    assert not found.overlaps(taken[0])


def test_packed_takes_the_first_free_place_by_rows():
    (found,) = place([(2, 3)], (6, 6), [Region(0, 0, 2, 4)], strategy="packed")
    assert found == Region(2, 0, 2, 3)
    (found,) = place([(2, 2)], (6, 6), [Region(0, 0, 2, 4)], strategy="packed")
    assert found == Region(0, 4, 2, 2)


def test_the_largest_is_placed_first_and_regions_keep_the_order_asked_for():
    assert place([(1, 1), (4, 4)], (4, 5), [], strategy="packed") == [
        Region(0, 4, 1, 1),
        Region(0, 0, 4, 4),
    ]
    assert place([(2, 2), (1, 6)], (3, 6), [], strategy="packed") == [
        Region(1, 0, 2, 2),
        Region(0, 0, 1, 6),
    ]


@pytest.mark.parametrize("crowded", [False, True])
def test_random_places_are_equally_likely(crowded):
    # Crowded: 12 places of 10 000 are free, so that darts miss and the list is drawn from.
    shape = (100, 100) if crowded else (4, 5)
    taken = [Region(2, 0, 98, 100), Region(0, 8, 2, 92)] if crowded else [Region(0, 0, 1, 5)]
    source = torch.Generator().manual_seed(0)
    draws = 3000
    seen = [
        place([(1, 2)], shape, taken, strategy="random", source=source)[0] for _ in range(draws)
    ]
    counts = np.unique([(r.row, r.col) for r in seen], axis=0, return_counts=True)[1]
    places = 14 if crowded else 12
    assert len(counts) == places
    expected = draws / places
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < places - 1 + 4 * np.sqrt(2 * (places - 1))


def test_no_place_is_said_so():
    assert place([(3, 3)], (2, 5), []) == [None]
    assert place([(2, 2)], (2, 2), [Region(1, 1, 1, 1)], strategy="packed") == [None]
    assert Windows((2, 2), 1, 1, [Region(0, 0, 2, 2)]).choose(torch.Generator()) is None


def test_why_there_is_no_room_is_said_by_its_numbers():
    half = [Region(0, 2, 4, 4)]  # of 4 × 8
    # As many cells are free as are needed; of 1.2 · 32 cells a square has edges of 7.
    said = no_room((4, 4), [(4, 4)], (4, 8), half, packed=False)
    assert said.startswith("16 cells are free for its 16, but not in pieces that large (4 × 4")
    assert "chip of about 7 × 7" in said
    assert "strategy='packed'" in said
    said = no_room((4, 3), [(4, 3), (1, 5)], (4, 8), half, packed=True)
    assert said.startswith("the model needs 17 cells, 1 more than the 16 free")
    assert "strategy" not in said
    said = no_room((5, 9), [(5, 9)], (4, 8), [], packed=True)
    assert "the chip has 4 × 8: 1 rows and 1 columns too few" in said
    said = no_room((4, 9), [(4, 9)], (4, 8), [], packed=True)
    assert "0 rows and 1 columns too few" in said


def test_regions_refuse_what_is_no_rectangle():
    with pytest.raises(ValueError, match="Region row must be >= 0"):
        Region(-1, 0, 2, 2)
    with pytest.raises(ValueError, match="Region width must be >= 1"):
        Region(0, 0, 2, 0)
    with pytest.raises(ValueError, match="strategy must be one of"):
        place([(1, 1)], (2, 2), [], strategy="best")
