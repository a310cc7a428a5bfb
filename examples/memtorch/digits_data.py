"""What these examples share: scikit-learn's digits, a small network, training and testing."""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    """A multi-layer perceptron of one hidden layer."""

    def __init__(self, hidden=64):
        super().__init__()
        self.fc1 = nn.Linear(64, hidden)
        self.fc2 = nn.Linear(hidden, 10)

    def forward(self, x):
        """Return the logits ``[batch, 10]`` of images ``[batch, 64]``."""
        return self.fc2(F.relu(self.fc1(x)))


def load(seed=0):
    """Return ``(train_x, train_y), (test_x, test_y)``, pixels from 0 to 1."""
    digits = load_digits()
    x = torch.tensor(digits.data / 16.0, dtype=torch.float32)
    y = torch.tensor(digits.target)
    train_x, test_x, train_y, test_y = train_test_split(
        x, y, test_size=0.25, random_state=seed, stratify=digits.target
    )
    return (train_x, train_y), (test_x, test_y)


def train(model, data, epochs=20, after_epoch=None, after_step=None):
    """Train by Adam; ``after_epoch(model)``, ``after_step(model)`` are called where given."""
    x, y = data
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(epochs):
        model.train()
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
            if after_step is not None:
                after_step(model)
        model.eval()
        if after_epoch is not None:
            after_epoch(model)
    return model


@torch.no_grad()
def accuracy(model, data):
    """Return how many per cent are right."""
    x, y = data
    return 100.0 * float((model(x).argmax(1) == y).float().mean())
