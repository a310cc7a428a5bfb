"""Pictures of voltage-driven cells: what they draw, and that they return their axes."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib
import numpy as np
import pytest
import torch

from mho.devices.windows import Biolek, Joglekar
from mho.plot.switching import bipolar_switching, hysteresis_loop, window_functions

matplotlib.use("Agg")
import matplotlib.pyplot as plt


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


def test_hysteresis_loop_draws_every_cell_in_one_colour() -> None:
    v = torch.sin(torch.linspace(0, 6.3, 50))
    ax = plt.subplots()[1]
    assert hysteresis_loop(v, v[:, None] * torch.ones(3), label="cells", ax=ax) is ax
    curves = ax.get_lines()[:3]
    assert len({str(line.get_color()) for line in curves}) == 1
    np.testing.assert_allclose(curves[2].get_ydata(), v)
    assert ax.get_legend_handles_labels()[1] == ["cells"]
    assert len(ax.texts) == 4  # arrows: up and down, in both halves
    assert ax.get_xlabel() == "voltage (V)"


def test_bipolar_switching_leaves_zero_out() -> None:
    v = torch.linspace(-1, 1, 21)
    ax = bipolar_switching(v, 1e-3 * v)
    drawn = np.asarray(ax.get_lines()[0].get_ydata())
    assert ax.get_yscale() == "log"
    assert int(np.isnan(drawn).sum()) == 1
    assert np.nanmin(drawn) > 0


def test_window_functions_draws_both_directions_where_they_differ() -> None:
    ax = window_functions([Joglekar(p=2), Biolek(p=2)])
    assert [line.get_linestyle() for line in ax.get_lines()] == ["-", "-", "--"]
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["Joglekar(p=2)", "Biolek(p=2)"]


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="same length"):
        hysteresis_loop(torch.zeros(3), torch.zeros(4))
