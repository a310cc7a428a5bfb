"""Waveform helpers: times, levels and lengths."""

from __future__ import annotations

import math

import pytest
import torch

from mho.devices import waveforms


def test_sine_has_its_period_and_peak() -> None:
    time, volts = waveforms.sine(1.5, 10.0, dt=1e-3, cycles=2, offset=0.1)
    assert time.shape == volts.shape == (201,)
    torch.testing.assert_close(time[-1], torch.tensor(0.2))
    expected = 0.1 + 1.5 * torch.sin(2 * math.pi * 10 * time)
    torch.testing.assert_close(volts, expected, atol=1e-5, rtol=0)


def test_triangle_goes_up_down_and_back() -> None:
    _, volts = waveforms.triangle(2.0, 1.0, dt=0.125)
    expected = torch.tensor([0.0, 1.0, 2.0, 1.0, 0.0, -1.0, -2.0, -1.0, 0.0])
    torch.testing.assert_close(volts, expected)


def test_pulse_train_gives_each_level_its_width() -> None:
    time, volts = waveforms.pulse_train([1.0, -2.0], width=2e-9, period=5e-9, dt=1e-9, count=2)
    one = [1.0, 1.0, 0.0, 0.0, 0.0, -2.0, -2.0, 0.0, 0.0, 0.0]
    assert volts.tolist() == one * 2
    torch.testing.assert_close(time.diff(), torch.full((19,), 1e-9), rtol=1e-5, atol=0.0)
    assert waveforms.pulse_train(1.0, width=1.0, period=1.0, dt=0.5, baseline=0.2)[1].tolist() == [
        1.0,
        1.0,
    ]


def test_programming_signal_counts_its_pulses() -> None:
    _, volts = waveforms.programming_signal(
        3, duration=1e-6, refractory=2e-6, level=-1.2, resolution=1e-7
    )
    assert volts.shape == (90,)
    assert int((volts == -1.2).sum()) == 30
    assert int((volts.diff() < 0).sum()) == 2  # the first pulse starts at once


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: waveforms.sine(1.0, 0.0, dt=1.0), "frequency must be > 0"),
        (lambda: waveforms.sine(1.0, 1.0, dt=0.6), "dt must be > 0 and <= 0.5"),
        (lambda: waveforms.triangle(1.0, 1.0, dt=-1.0), "dt must be > 0"),
        (lambda: waveforms.sine(float("nan"), 1.0, dt=0.1), "amplitude must be finite"),
        (lambda: waveforms.pulse_train(1.0, width=2.0, period=1.0, dt=0.1), "period must be >= 2"),
        (lambda: waveforms.pulse_train(1.0, width=0.05, period=1.0, dt=0.1), "width must be"),
        (lambda: waveforms.pulse_train(1.0, width=1.0, period=1.0, dt=0.1, count=0), "count must"),
        (
            lambda: waveforms.programming_signal(
                1, duration=1.0, refractory=-1.0, level=1.0, resolution=0.1
            ),
            "refractory must be >= 0",
        ),
    ],
)
def test_impossible_waveforms_are_refused(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()
