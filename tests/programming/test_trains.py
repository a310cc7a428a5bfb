"""Lengths of trains, worked by hand."""

import torch

from mho.programming.trains import train_length


def test_lengths_follow_the_last_trains_mean_step():
    error = torch.tensor([10.0, -10.0, 3.9, 0.2, 10.0, 10.0, 500.0])
    step = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0, -1.0, 1.0])
    last = torch.tensor([8, 4, 8, 8, 3, 0, 90])
    # As promised; at most twice the last; whole pulses; one; as long; the first; the longest.
    assert train_length(error, step, last, 100).tolist() == [10, 8, 3, 1, 3, 1, 100]
