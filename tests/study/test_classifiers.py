"""What a test of a classifier refuses: labels and outputs of which no class can be right."""

import math

import pytest
import torch
from torch import nn

import mho
from mho.study import accuracy, accuracy_and_cost, over_chips

torch.manual_seed(0)
MODEL = nn.Linear(5, 3).eval()
X = torch.randn(12, 5)
Y = MODEL(X).argmax(1)
HARDWARE = mho.Hardware()


class Pair(nn.Linear):
    def forward(self, x):
        return super().forward(x), None


REFUSED = {
    "labels from 1 on": (MODEL, X, Y + 3, ValueError, r"scores of, 0…2, got [345]"),
    "labels below 0": (MODEL, X, Y - 100, ValueError, "whole numbers from 0 on"),
    "shares for labels": (MODEL, X, Y + 0.5, ValueError, "whole numbers from 0 on"),
    "one output": (nn.Linear(5, 1), X, Y, ValueError, r"two or more classes.*shape \[2, 1\]"),
    "scores of a map": (nn.Unflatten(0, (-1, 1)), X, Y, ValueError, "two or more classes"),
    "outputs and more": (Pair(5, 3), X, Y, TypeError, "tensor of scores, got tuple"),
    "other inputs": (MODEL, X[:, :4], Y, ValueError, r"does not take inputs of shape \[2, 4\]"),
    "missing entries": (MODEL, X.where(X < 1, math.nan), Y, ValueError, "inputs must be finite"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_classifier_of_its_labels_is_refused(case):
    model, x, y, kind, said = REFUSED[case]
    with pytest.raises(kind, match=said):
        accuracy(model, HARDWARE, x, y, calibration=X, seeds=[0])
    with pytest.raises(kind, match=said):
        accuracy_and_cost(model, x, y, X)


def test_chips_are_tested_so_too():
    analog = mho.convert(MODEL, HARDWARE, seed=0).eval()
    with pytest.raises(ValueError, match=r"scores of, 0…2, got 3"):
        over_chips(analog, (X, Y.clamp(max=0) + 3), [0])
    assert over_chips(analog, (X, Y), [0]).item() == pytest.approx(1.0, abs=0.1)


def test_whole_numbers_of_any_dtype_are_classes():
    for labels in (Y.double(), Y.int(), Y.numpy(), Y[:, None].float()):
        assert accuracy(MODEL, HARDWARE, X, labels, calibration=X, seeds=[0]).digital == 1.0
