"""Base of optimizers that work through another optimizer, or keep more than torch knows of."""

from __future__ import annotations

from typing import Any

import torch

from mho.core import checks


class WholeCopies(torch.optim.Optimizer):
    """An optimizer whose copies and pickles have all of its attributes, not torch's three."""

    def __getstate__(self) -> dict[str, Any]:
        """Everything but ``step`` where a scheduler has wrapped it: that one is the original's."""
        return {name: value for name, value in self.__dict__.items() if name != "step"}


class Wrapper(WholeCopies):
    """An optimizer around another one: its parameter groups and state are that one's.

    So schedulers, gradient scalers and everything else that takes an optimizer take either.

    Attributes:
        inner: the optimizer inside.
    """

    inner: torch.optim.Optimizer

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        checks.instance("optimizer", inner, torch.optim.Optimizer)
        super().__init__(inner.param_groups, inner.defaults)
        self.inner = inner
        self._share()

    def _share(self) -> None:
        self.param_groups, self.state = self.inner.param_groups, self.inner.state
        self.defaults = self.inner.defaults

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in torch."""
        if "inner" not in self.__dict__:  # torch's own constructor reads the groups
            super().add_param_group(param_group)
            return
        self.inner.add_param_group(param_group)
        self._share()
