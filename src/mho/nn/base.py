"""What all crossbar layers share: parameters, the crossbars that hold them, which is read when."""

from __future__ import annotations

import copy
import warnings
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mho.cells.life import ProgramReport
from mho.core import checks, random
from mho.crossbar.crossbar import Crossbar
from mho.hardware import Hardware

L = TypeVar("L", bound="AnalogLayer")


class AnalogLayer(nn.Module):
    """Base of all layers that compute through crossbars.

    A layer holds the digital parameters, as the torch layer it stands for names them, and one
    `Crossbar` per matrix. In ``train()`` mode it reads *through the weights* (`Crossbar.
    read_through`), in ``eval()`` mode what the chip holds (`Crossbar.forward`).

    A subclass says how it is built from the torch layer (`_adopt`), which matrices it stores
    (`matrices`), how to go back (`to_digital`), and its ``forward``, which reads with `read`.
    """

    hardware: Hardware

    @classmethod
    def from_digital(
        cls: type[L],
        digital: nn.Module,
        hardware: Hardware,
        *,
        seed: int = 0,
        memo: dict[int, Any] | None = None,
    ) -> L:
        """Build the layer that stands for a torch layer, its weights copied and programmed.

        Args:
            digital: the torch layer; it is not changed.
            hardware: what the crossbars are made of.
            seed: of the crossbars; each gets one derived from it.
            memo: of `copy.deepcopy`, so that parameters tied in a model stay tied in its copy.

        Raises:
            TypeError, ValueError: if the layer cannot be put on crossbars as it is.
        """
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer._build(digital, hardware, seed, memo)
        return layer

    def _build(
        self, digital: nn.Module, hardware: Hardware, seed: int, memo: dict[int, Any] | None = None
    ) -> None:
        checks.instance("hardware", hardware, Hardware)
        checks.integer("seed", seed, least=0)
        self.hardware = hardware
        self._synced: dict[str, tuple[int, int]] = {}
        self._warned = False
        self.register_load_state_dict_pre_hook(refuse_other_checkpoint)
        memo = {} if memo is None else memo
        for name, parameter in digital.named_parameters(recurse=False):
            if isinstance(parameter, nn.UninitializedParameter):
                kind = type(digital).__name__
                raise ValueError(
                    f"{kind} has no weights yet: run one batch through the model first"
                )
            if self.takes(name):
                self.register_parameter(name, copy.deepcopy(parameter, memo))
        self._adopt(digital)
        for name, matrix in self.matrices().items():
            checks.finite(f"weight of {name}", matrix)
            crossbar = Crossbar(
                *self._matrix_shape(name, matrix),
                hardware,
                seed=random.derive(seed, name),
                groups=self._groups(name),
                dtype=matrix.dtype,
                device=matrix.device,
            )
            self.add_module(name, crossbar)
        self.program()
        self.train(digital.training)

    def _adopt(self, digital: nn.Module) -> None:
        """Take over the torch layer's settings (parameters are already registered)."""
        raise NotImplementedError

    def takes(self, name: str) -> bool:
        """Whether this layer takes over a parameter of the torch layer."""
        return True

    def matrices(self) -> dict[str, Tensor]:
        """Return, by crossbar name, the matrices ``[groups · rows, cols]`` to be stored."""
        raise NotImplementedError

    def to_digital(self) -> nn.Module:
        """Return the torch layer with the weights as now stored."""
        raise NotImplementedError

    def _groups(self, name: str) -> int:
        return 1

    def _matrix_shape(self, name: str, matrix: Tensor) -> tuple[int, int]:
        return matrix.shape[0] // self._groups(name), matrix.shape[1]

    @property
    def crossbars(self) -> dict[str, Crossbar]:
        """This layer's crossbars by name."""
        return {n: m for n, m in self.named_children() if isinstance(m, Crossbar)}

    @torch.no_grad()
    def program(self) -> dict[str, ProgramReport]:
        """Write the digital weights to the chip.

        Returns:
            What was asked for and what is stored, by crossbar name.

        Raises:
            ValueError: if a weight is not finite; no crossbar is then changed.
        """
        matrices = self.matrices()
        for name, matrix in matrices.items():
            checks.finite(f"weight of {name}", matrix)
        reports = {name: self.crossbars[name].program(m) for name, m in matrices.items()}
        self.mark_programmed()
        return reports

    def mark_programmed(self) -> None:
        """Note that the chip now holds the weights as they are; `warn_if_stale` goes by it."""
        self._synced = self._versions()
        self._warned = False

    def read(self, name: str, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Read one crossbar (through the weights in training, else what is stored), add a bias."""
        crossbar: Crossbar = getattr(self, name)
        if self.training:
            return crossbar.read_through(x, self.matrices()[name], bias)
        self.warn_if_stale()
        return crossbar(x, bias)

    def warn_if_stale(self) -> None:
        """Say once that the weights have moved since they were programmed."""
        if torch.compiler.is_compiling() or self._warned:
            return
        for name, (identity, version) in self._versions().items():
            known = self._synced.get(name)
            if known is None:
                self._synced[name] = (identity, version)
            elif known != (identity, version):
                warnings.warn(
                    f"{type(self).__name__}: {name} has changed since it was programmed, and "
                    "eval() reads what the chip holds; call mho.program(model) to write it",
                    stacklevel=4,
                )
                self._warned = True
                return

    def _versions(self) -> dict[str, tuple[int, int]]:
        on_array = self.hardware.bias == "array"
        return {
            name: (id(value), 0 if value.is_inference() else value._version)
            for name, value in self._parameters.items()
            if value is not None and (on_array or "bias" not in name)
        }

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if all(f"{prefix}{name}.G" in state_dict for name in self.crossbars):
            # Weights and conductances come from one checkpoint. Which versions that made is looked
            # up later: a tied parameter is loaded once for every layer that has it.
            self._synced = {}

    def train(self: L, mode: bool = True) -> L:
        """As `torch.nn.Module.train`; notes what the weights were before they are trained."""
        self._synced = self._synced or self._versions()
        return super().train(mode)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._synced = self._versions()  # a copy has parameters of its own


def refuse_other_checkpoint(
    module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: object
) -> None:
    """Check a whole checkpoint before torch copies any of it, so that a refusal changes nothing.

    A hook for ``register_load_state_dict_pre_hook``.

    Raises:
        ValueError: if a shape or the hardware is another.
    """
    parts = module.named_modules(prefix=prefix.rstrip("."))
    found = [
        part.mismatch(state_dict, f"{name}." if name else "")
        for name, part in parts
        if isinstance(part, Crossbar)
    ]
    for key, value in module.state_dict(prefix=prefix, keep_vars=True).items():
        other = state_dict.get(key)
        if isinstance(value, Tensor) and isinstance(other, Tensor) and value.shape != other.shape:
            expected, shape = list(value.shape), list(other.shape)
            found.append(f"{key}: expected shape {expected}, found {shape}")
    trouble = [text for text in found if text]
    if trouble:
        raise ValueError("this checkpoint does not fit the model: " + "; ".join(trouble))
