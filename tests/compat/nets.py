"""A network as XBTorch's programs write it."""

from torch import nn


class Net(nn.Module):
    """Its layers are one after the other in ``model``, where patching looks for them."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(x)
