"""Pictures of training show the numbers they are given."""

import matplotlib as mpl
import numpy as np
import pytest
import torch

mpl.use("Agg")

from mho.plot import style, training


def test_accuracy_curve_is_mean_and_deviation():
    runs = torch.tensor([[0.5, 0.7, 0.9], [0.7, 0.9, 0.9]])
    ax = training.accuracy_curve(runs, label="a")
    assert training.accuracy_curve(runs[0], ax, steps=(10, 20, 30)) is ax
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[1, 60], [2, 80], [3, 90]])
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(80 + 100 * runs[:, 1].std())
    np.testing.assert_allclose(ax.lines[1].get_xdata(), [10, 20, 30])
    with pytest.raises(ValueError, match="steps must be 3"):
        training.accuracy_curve(runs, steps=(1,))
    with pytest.raises(ValueError, match="accuracies must have shape"):
        training.accuracy_curve(torch.zeros(2, 3, 4))


def test_rank_accuracy_has_ticks_at_the_ranks_of_all_calls():
    ax = training.rank_accuracy((1, 4), torch.tensor([[0.5, 0.9]]), baseline=0.95)
    training.rank_accuracy((2, 10), torch.tensor([[0.6, 0.9], [0.8, 0.9]]), ax)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "2", "4", "10"]
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [50, 90])
    with pytest.raises(ValueError, match="rank must be >= 1"):
        training.rank_accuracy((0,), torch.zeros(1, 1))
    with pytest.raises(ValueError, match=r"accuracies must have shape \[runs, 1\]"):
        training.rank_accuracy((1,), torch.zeros(1, 2))


def test_writes_map_shows_the_most_written_cell_of_each_weight():
    writes = torch.tensor([[[1, 5], [0, 2]], [[3, 1], [0, 7]]])
    ax = training.writes_map(writes, endurance=7)
    image = ax.images[0]
    np.testing.assert_array_equal(image.get_array(), [[3, 5], [0, 7]])
    assert image.get_clim() == (0, 7)
    assert ax.get_title("left") == "3.8 on average, 7 at most, 25 % worn out"
    one = training.writes_map(writes, cell=0).images[0]
    np.testing.assert_array_equal(one.get_array(), writes[0])
    with pytest.raises(ValueError, match=r"cell must be >= 0 and <= 1"):
        training.writes_map(writes, cell=2)
    with pytest.raises(ValueError, match="writes must have shape"):
        training.writes_map(torch.zeros(3))


def test_weight_histogram_is_in_percent_of_the_weights():
    with style():
        ax = training.weight_histogram(
            torch.zeros(10), torch.linspace(-1, 1, 20), weight_range=(-1, 1), bins=4
        )
    heights = [patch.get_height() for patch in ax.patches[:4]]
    assert sum(heights) == pytest.approx(100)
    assert len(ax.lines) == 2
    with pytest.raises(ValueError, match="after must be finite"):
        training.weight_histogram(torch.zeros(3), torch.tensor([torch.nan]))
