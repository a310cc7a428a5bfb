import subprocess
import sys

import pytest
import torch

import mho

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from mho import plot  # noqa: E402


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.fixture
def crossbar():
    hardware = mho.Hardware(
        array=mho.Array(rows=8, cols=4),
        effects=(mho.effects.StuckAt(low=0.05, high=0.05), mho.effects.WriteNoise(sigma=0.02)),
    )
    return mho.Crossbar(20, 10, hardware, seed=1)


@pytest.fixture
def weight():
    return torch.randn(20, 10, generator=torch.Generator().manual_seed(0))


def borders(ax):
    vertical = {line.get_xdata()[0] for line in ax.lines if len(set(line.get_xdata())) == 1}
    horizontal = {line.get_ydata()[0] for line in ax.lines if len(set(line.get_ydata())) == 1}
    return vertical, horizontal


def test_conductance_map(crossbar, weight, ax):
    crossbar.program(weight)
    assert plot.conductance_map(crossbar, ax, slice=1) is ax
    shown = torch.tensor(ax.images[0].get_array().data)
    torch.testing.assert_close(shown, crossbar.G[1].double() / 1e-6)
    assert borders(ax) == ({3.5, 7.5}, {7.5, 15.5})
    marked = {(int(y), int(x)) for x, y in ax.collections[0].get_offsets()}
    assert marked == {tuple(cell) for cell in crossbar.stuck[1].nonzero().tolist()}
    assert ax.figure.axes[1].get_ylabel() == "conductance (µS)"


def test_groups_start_on_tiles_of_their_own(ax):
    hardware = mho.Hardware(array=mho.Array(rows=4, cols=8))
    plot.conductance_map(mho.Crossbar(6, 2, hardware, groups=2), ax)
    assert borders(ax) == (set(), {3.5, 5.5, 9.5})


def test_conductance_map_refuses_other_slices(crossbar, ax):
    with pytest.raises(ValueError, match="slice must be"):
        plot.conductance_map(crossbar, ax, slice=2)


def test_target_histogram_counts_every_cell(crossbar, weight, ax):
    report = crossbar.program(weight)
    assert plot.target_histogram(report, ax) is ax
    assert sum(bar.get_height() for bar in ax.containers[0]) == report.target.numel()
    assert ax.get_yscale() == "log"


def test_weight_error_tells_broken_from_healthy(crossbar, weight, ax):
    crossbar.program(weight)
    assert plot.weight_error(crossbar, weight, ax) is ax
    healthy, broken = ax.collections
    assert len(broken.get_offsets()) == int(crossbar.stuck.any(0).sum())
    assert len(healthy.get_offsets()) + len(broken.get_offsets()) == weight.numel()
    mask = ~crossbar.stuck.any(0)
    rms = (crossbar.weight - weight)[mask].square().mean().sqrt() / weight.abs().max()
    assert healthy.get_label() == f"healthy: {100 * float(rms):.2g} %"


@pytest.mark.parametrize(
    "encoding", [mho.encoding.SingleColumn(), mho.encoding.BitSliced(), mho.encoding.Ternary()]
)
def test_every_encoding_can_be_drawn(encoding, weight):
    hardware = mho.Hardware(encoding=encoding, effects=(mho.effects.StuckAt(low=0.1),))
    crossbar = mho.Crossbar(20, 10, hardware)
    report = crossbar.program(weight)
    for draw in (
        lambda ax: plot.conductance_map(crossbar, ax),
        lambda ax: plot.target_histogram(report, ax),
        lambda ax: plot.weight_error(crossbar, weight, ax),
    ):
        ax = Figure().subplots()
        draw(ax).figure.savefig("/dev/null", format="png")


def test_weight_error_refuses_other_shapes(crossbar, weight, ax):
    with pytest.raises(ValueError, match="weight must have shape"):
        plot.weight_error(crossbar, weight.T, ax)


def test_accuracy_band_is_one_standard_deviation(ax):
    accuracies = torch.tensor([[0.9, 0.5], [0.8, 0.7], [0.7, 0.3]])
    plot.accuracy_against([1, 2], accuracies, ax, label="net", baseline=0.95)
    base, mean = ax.lines
    assert base.get_ydata() == pytest.approx([95, 95])
    assert mean.get_ydata() == pytest.approx([80, 50])
    corners = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (corners.min(), corners.max()) == pytest.approx((30, 90))


def test_accuracy_refuses_other_shapes(ax):
    with pytest.raises(ValueError, match=r"\[chips, 3\]"):
        plot.accuracy_against([1, 2, 3], torch.zeros(5, 2), ax)


def test_time_axis_speaks_of_natural_units(ax):
    plot.time_axis(ax, [1.0, 60.0, 86_400.0])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1 s", "1 min", "1 d"]
    assert ax.get_xscale() == "log"


def test_axes_are_made_when_none_are_given(crossbar):
    ax = plot.conductance_map(crossbar)
    assert len(ax.figure.axes) == 2
    plt.close(ax.figure)


def test_style_stays_inside_its_context():
    before = dict(matplotlib.rcParams)
    with plot.style():
        assert matplotlib.rcParams["axes.grid"]
    assert dict(matplotlib.rcParams) == before


def test_pictures_are_in_one_style_without_asking_for_it(crossbar):
    before = dict(matplotlib.rcParams)
    own = plot.accuracy_against([1, 2], torch.tensor([[0.9, 0.5]]), label="net")
    _, given = plt.subplots()
    assert given.spines["top"].get_visible()
    plot.accuracy_against([1, 2], torch.tensor([[0.9, 0.5]]), given, label="net")
    for ax in (own, given):
        assert not ax.spines["top"].get_visible()
        assert not ax.get_legend().get_frame_on()
        assert ax.xaxis.get_gridlines()[0].get_visible()
        assert ax.xaxis.label.get_size() == own.yaxis.label.get_size() == 10.5
    assert own.figure.get_layout_engine() is not None  # nothing is cut off
    assert dict(matplotlib.rcParams) == before
    plt.close("all")


def test_axes_in_which_something_is_drawn_stay_as_they_are():
    _, ax = plt.subplots()
    ax.plot([1, 2])
    ax.spines["top"].set_color("red")
    plot.accuracy_against([1, 2], torch.tensor([[0.9, 0.5]]), ax)
    assert ax.spines["top"].get_visible()
    plt.close("all")


def test_several_pictures_need_as_many_axes():
    from mho.plot.styles import panels

    assert len(panels(None, 2, 3)) == 6
    with pytest.raises(ValueError, match="axes must be 2 Axes, got 1"):
        panels([plt.subplots()[1]], 2, 1)
    plt.close("all")


def test_mho_alone_imports_no_drawing_and_says_what_is_missing():
    code = """
import sys, mho
assert not {"matplotlib", "sklearn", "jinja2"} & set(sys.modules)
sys.modules["matplotlib"] = None
try:
    import mho.plot
except ImportError as error:
    assert "mho[viz]" in str(error), error
else:
    raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
