"""The layers of peft over crossbars: what is merged into a layer is written to its cells.

Imported where peft is at work; see `mho.nn.adapters`.
"""

from __future__ import annotations

import warnings
from typing import Any

from peft.tuners.lora import layer as peft_layers
from torch import nn

from mho.nn.base import AnalogLayer
from mho.nn.embedding import Embedding as CrossbarEmbedding
from mho.nn.linear import Linear as CrossbarLinear


class _Written:
    """Programs the layer below after adapters were merged into its weights, or taken out."""

    merged_adapters: list[str]

    def __init__(self, *args: Any, **settings: Any) -> None:
        with warnings.catch_warnings():  # peft warns of every layer that is not torch's own
            warnings.filterwarnings("ignore", "Unsupported layer type")
            super().__init__(*args, **settings)

    def merge(self, *args: Any, **settings: Any) -> None:
        """As peft does; then write the merged weights to the chip."""
        before = list(self.merged_adapters)
        super().merge(*args, **settings)  # type: ignore[misc]
        self._write(before)

    def unmerge(self) -> None:
        """As peft does; then write the weights of before to the chip."""
        before = list(self.merged_adapters)
        super().unmerge()  # type: ignore[misc]
        self._write(before)

    def _write(self, before: list[str]) -> None:
        layer = self.get_base_layer()  # type: ignore[attr-defined]
        if list(self.merged_adapters) == before or not isinstance(layer, AnalogLayer):
            return
        if not any(bool(c.reference.isnan().any()) for c in layer.crossbars.values()):
            layer.program()


class Linear(_Written, peft_layers.Linear):
    """Adapters over `mho.nn.Linear`."""


class Embedding(_Written, peft_layers.Embedding):
    """Adapters over `mho.nn.Embedding`."""


class Conv1d(_Written, peft_layers.Conv1d):
    """Adapters over `mho.nn.Conv1d`."""


class Conv2d(_Written, peft_layers.Conv2d):
    """Adapters over `mho.nn.Conv2d`."""


class Conv3d(_Written, peft_layers.Conv3d):
    """Adapters over `mho.nn.Conv3d`."""


FOR: dict[type[nn.Module], type[nn.Module]] = {
    CrossbarLinear: Linear,
    CrossbarEmbedding: Embedding,
}
"""Which of these goes over which layer.

Over convolutions peft makes adapters of their own class: these are added before `mho.convert`.
"""
