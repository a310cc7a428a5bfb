"""An array of cells before anything is on it: what fabrication made of every one of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mho.cells import life
from mho.cells.behaviour import Context
from mho.core import checks, random
from mho.crossbar.matrix import refuse_half
from mho.hardware import Hardware


class CellArray(nn.Module):
    """The cells of a `mho.chip.Chip`; arguments and attributes are described there.

    Base class of `Chip` only: what is on the chip is that class's part.
    """

    G: Tensor
    stuck: Tensor
    wear: Tensor
    rng: Tensor

    def __init__(
        self,
        rows: int,
        cols: int,
        hardware: Hardware,
        *,
        stuck: tuple[Tensor, Tensor] | None = None,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        checks.integer("rows", rows)
        checks.integer("cols", cols)
        checks.instance("hardware", hardware, Hardware)
        dtype = dtype or torch.get_default_dtype()
        refuse_half(dtype)
        self.rows, self.cols, self.hardware = rows, cols, hardware
        self.register_buffer("rng", random.stream(seed).to(device))
        self.register_buffer("G", torch.empty(rows, cols, dtype=dtype, device=device))
        unwritten = torch.zeros(rows, cols, dtype=torch.int32, device=self.G.device)
        self.register_buffer("wear", unwritten)
        self.register_buffer("stuck", torch.zeros_like(unwritten, dtype=torch.bool))
        self._fabricate(stuck)

    @torch.no_grad()
    def _fabricate(self, given: tuple[Tensor, Tensor] | None) -> None:
        def context(state: dict[str, Tensor]) -> Context:
            return Context(self.G, *self.hardware.device.window, self.rng, state=state)

        born = life.fabricate(self.hardware, context)
        for index, state in enumerate(born.states):
            for name, value in state.items():
                self.register_buffer(f"state_{index}_{name}", value)
        self.G.fill_(self.hardware.device.window[0])
        own = None if born.stuck is None or born.stuck_g is None else (born.stuck, born.stuck_g)
        for broken in (own, given):
            if broken is None:
                continue
            mask, value = _checked(*broken, self.G)
            # A cell broken twice keeps its first fault.
            self.G = torch.where(mask & ~self.stuck, value, self.G)
            self.stuck = self.stuck | mask

    def states(self) -> list[dict[str, Tensor]]:
        """Return every behaviour's own tensors, ``[rows, cols]`` each, as fabrication drew them."""
        states: list[dict[str, Tensor]] = [{} for _ in self.hardware.behaviours]
        for key, value in self._buffers.items():
            if key.startswith("state_") and value is not None:
                _, index, name = key.split("_", 2)
                states[int(index)][name] = value
        return states


def _checked(mask: Tensor, value: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    for name, tensor in (("stuck mask", mask), ("stuck conductances", value)):
        checks.shape(name, tensor, tuple(like.shape))
    if mask.dtype != torch.bool:
        raise TypeError(f"stuck mask must be boolean, got {mask.dtype}")
    mask = mask.to(like.device)
    value = torch.where(mask, value.to(like), 0.0)
    checks.finite("stuck conductances", value)
    if float(value.min()) < 0:
        raise ValueError(f"stuck conductances must be >= 0 S, got {float(value.min())!r}")
    return mask, value


def outside(conductance: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Take the cells of a measured map that lie outside a window for stuck.

    Args:
        conductance: measured ``[rows, cols]`` (S).
        low: lowest conductance (S) of a healthy cell, >= 0.
        high: highest conductance (S) of a healthy cell, > low.

    Returns:
        The mask and the conductances that `Chip` takes as ``stuck``.

    Raises:
        TypeError, ValueError: if an argument is refused.
    """
    checks.instance("conductance", conductance, Tensor)
    if conductance.dim() != 2:
        raise ValueError(f"conductance must be [rows, cols], got {list(conductance.shape)}")
    checks.finite("conductance", conductance)
    checks.number("low", low, least=0.0)
    checks.number("high", high, above=low)
    return (conductance < low) | (conductance > high), conductance
