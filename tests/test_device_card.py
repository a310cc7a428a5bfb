"""One-page cards: what they show, for every family."""

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch.distributions import LogNormal, Normal

from mho.cells.device import Device
from mho.cells.spread import Spread
from mho.devices import presets
from mho.devices.linear import LinearDevice
from mho.plot.device import device_card


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def texts(figure):
    parts = [figure, *figure.subfigs]
    return " ".join(text.get_text() for part in parts for text in part.texts)


def titles(figure):
    return [ax.get_title() or ax.get_title("left") for ax in figure.subfigs[1].axes]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("tiox_2018", ["hysteresis", "switching, log", "pulses", "read current"]),
        ("ag_a_si", ["pulse response", "jump of one pulse", "by turns", "read current"]),
        ("fefet_3v0", ["pulse response", "jump of one pulse", "by turns"]),
        ("reram_wan", ["drift", "distance from the target", "noise", "read current"]),
        ("mtj", ["AP to P", "sweep", "tunnel magnetoresistance", "read current"]),
        ("ideal", ["read current", "write and read back"]),
    ],
)
def test_card_shows_the_family(name, shown):
    device = presets.get(name)
    figure = device_card(device, name=name)
    found = " | ".join(titles(figure))
    for title in shown:
        assert title in found
    assert name in texts(figure)
    assert type(device).__name__ in texts(figure)
    figure.canvas.draw()  # nothing fails when it is laid out


def test_card_lists_every_parameter_with_its_unit():
    said = texts(device_card(presets.get("mtj")))
    for name in ("g_parallel", "tmr", "v_half", "delta", "anisotropy_field"):
        assert name in said
    assert "70 µS" in said
    assert "300 mT" in said


def test_card_of_spread_devices_shows_their_windows():
    device = LinearDevice(g_min=1e-6, g_max=Spread(Normal(1e-4, 1e-5)))
    figure = device_card(device)
    assert "ends of the window" in titles(figure)
    assert "Normal(100 µS, 10 µS)" in texts(figure)


def test_card_says_log_normal_spreads_by_their_median():
    spread = Spread(LogNormal(np.log(50e-6), 0.1), low=1e-6)
    said = texts(device_card(LinearDevice(g_min=1e-9, g_max=spread)))
    assert "LogNormal(median 50 µS, ln σ 0.1)" in said


def test_card_draws_into_a_given_figure():
    given = Figure(figsize=(10, 7))
    assert device_card(presets.get("ideal"), given) is given


def test_same_seed_same_curves():
    def curves(seed):
        lines = [
            line
            for axes in device_card(presets.get("ag_a_si"), seed=seed).axes
            for line in axes.lines
        ]
        return [np.asarray(line.get_xydata(), dtype=float) for line in lines]

    first, again, other = curves(2), curves(2), curves(3)
    assert all(np.array_equal(x, y, equal_nan=True) for x, y in zip(first, again, strict=True))
    assert not all(np.array_equal(x, y, equal_nan=True) for x, y in zip(first, other, strict=True))


def test_what_is_no_device_is_refused():
    with pytest.raises(TypeError, match="device must be a Device"):
        device_card(42)
    assert issubclass(LinearDevice, Device)
