"""What these examples share: scikit-learn's digits as loaders, a small network, and training."""

import torch
import xbtorch
import xbtorch.optim as xboptim
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from xbtorch.nn.utils import train_classifier
from xbtorch.patches import xbtorch_model


class Net(nn.Module):
    """A perceptron of one hidden layer; XBTorch looks for layers in ``model.model``."""

    def __init__(self, hidden=48):
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(64, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, 10, bias=False)
        )

    def forward(self, x):
        """Return the logits ``[batch, 10]`` of images ``[batch, 64]``."""
        return self.model(x)


def load(seed=0):
    """Return loaders for training and for tests, pixels from -1 to 1."""
    digits = load_digits()
    x = torch.tensor(digits.data / 8.0 - 1.0, dtype=torch.float32)
    y = torch.tensor(digits.target)
    train_x, test_x, train_y, test_y = train_test_split(
        x, y, test_size=0.25, random_state=seed, stratify=digits.target
    )
    train_loader = DataLoader(TensorDataset(train_x, train_y), batch_size=64, shuffle=True)
    return train_loader, DataLoader(TensorDataset(test_x, test_y), batch_size=450)


def train(train_loader, epochs, lr=0.1, **session):
    """Return a network trained as ``xbtorch.initialize(**session)`` says.

    The rate comes down to a thirtieth, so that where a run ends hardly depends on its seed.
    """
    xbtorch.initialize(**session)
    model = xbtorch_model(Net())
    optimizer = xboptim.SGD(model.parameters(), lr=lr)
    criterion, decay = nn.CrossEntropyLoss(), 30 ** (-1 / epochs)
    for epoch in range(epochs):
        train_classifier(
            train_loader, model, criterion, optimizer, epoch, epochs, lr_decay_rate=decay
        )
    return model
