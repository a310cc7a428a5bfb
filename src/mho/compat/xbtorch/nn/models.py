"""Networks of the tutorials. Their layers are in ``model``, as patching wants them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from mho.compat.xbtorch.nn.nn import SelectLastStep


class _Sequential(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs."""
        found: Tensor = self.model(x)
        return found


class LeNet5(_Sequential):
    """32C5-MP2-64C5-MP2-512FC-10, for images ``[batch, 1, 28, 28]``."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 32, 5, bias=False),
            nn.ReLU(),
            nn.MaxPool2d(2, 2),
            nn.Conv2d(32, 64, 5, bias=False),
            nn.ReLU(),
            nn.MaxPool2d(2, 2),
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, 512, bias=False),
            nn.ReLU(),
            nn.Linear(512, 10, bias=False),
        )


class VGG(_Sequential):
    """2×128C3-MP2-2×256C3-MP2-2×512C3-MP2-1024FC, for images ``[batch, 3, 32, 32]``.

    Args:
        num_classes: outputs.
    """

    def __init__(self, num_classes: int = 10) -> None:
        layers: list[nn.Module] = []
        for inputs, width in ((3, 128), (128, 256), (256, 512)):
            one = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
            two = nn.Conv2d(width, width, 3, padding=1, bias=False)
            layers += [one, nn.ReLU(), two, nn.MaxPool2d(2, 2), nn.ReLU()]
        layers += [nn.Flatten(), nn.Linear(8192, 1024, bias=False), nn.ReLU()]
        super().__init__(*layers, nn.Linear(1024, num_classes, bias=False))


class _Recurrent(_Sequential):
    """A recurrent layer and a linear one, for sequences ``[batch, time, input_size]``.

    Args:
        input_size: features of a step.
        hidden_size: of the hidden state.
        num_layers: recurrent layers.
        output_size: outputs.
    """

    _kind: ClassVar[Callable[..., nn.Module]]

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int, output_size: int
    ) -> None:
        options: Any = {"num_layers": num_layers, "batch_first": True, "bias": False}
        super().__init__(
            self._kind(input_size, hidden_size, **options),
            SelectLastStep(),
            nn.Linear(hidden_size, output_size, bias=False),
        )
        self.hidden_size = hidden_size


class RNN(_Recurrent):
    """A plain recurrent layer and a linear one; see `_Recurrent`."""

    _kind = nn.RNN


class SimpleLSTM(_Recurrent):
    """An LSTM and a linear layer; see `_Recurrent`."""

    _kind = nn.LSTM
