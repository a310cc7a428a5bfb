"""Cells that are not there yet: what they will be is known, and nothing is kept for any of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mho.cells.behaviour import Behaviour
from mho.cells.population import Cells
from mho.core import extra, random
from mho.core.precision import of_cells

REFUSAL = (
    "this crossbar was never programmed, it has no cells yet: call mho.program(model) first (in "
    "train() mode it is read through the weights, and needs none)"
)


class Unfabricated(nn.Module):
    """A population before its fabrication: it stands where `Cells` will.

    It answers what can be said without cells; whatever else is asked of it is refused with the
    remedy.

    Args:
        behaviours: all that will act on the cells: the device, then the effects.
        shape: of the population.
        seed: of everything random in its life.
        dtype: of the conductances.
        device: where they will live; ``"meta"`` until that is known.
    """

    broken_at: None = None
    stuck: None = None
    broken: None = None
    seconds: float = 0.0
    identity: str = ""

    def __init__(
        self,
        behaviours: Sequence[Behaviour],
        shape: tuple[int, ...],
        *,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        behaviours = tuple(behaviours)
        seed = random.checked(seed)  # refused now, not when fabricated
        vars(self).update(behaviours=behaviours, shape=tuple(shape), seed=seed, spec=behaviours[0])
        kind = of_cells(dtype)
        self.register_buffer("here", torch.zeros((), dtype=kind, device=device), persistent=False)

    here: Tensor
    behaviours: tuple[Behaviour, ...]
    shape: tuple[int, ...]
    seed: int
    spec: Any

    @property
    def like(self) -> Tensor:
        """A tensor of the population's shape, dtype and device, which takes no memory."""
        return self.here.expand(self.shape)

    @property
    def writes(self) -> Tensor:
        """Pulses each cell has received: none (int64), of ``shape``."""
        return torch.zeros((), dtype=torch.int64, device="cpu").expand(self.shape)

    @property
    def counts_reads(self) -> bool:
        """Whether aging will go by the reads, too."""
        return any(b.counts_reads and b.acts_on("age") for b in self.behaviours)

    @property
    def lines_seed(self) -> int:
        """The seed of what will stand at the cells' lines."""
        return int(random.streams(self.seed)[0, 0])

    def next_seed(self) -> int:
        """Return the seed of the population that is fabricated next: its own."""
        return self.seed

    def fork(self) -> Unfabricated:
        """Return the same, for a change that may fail: there is nothing to change."""
        return self

    def on(self, device: torch.device) -> Unfabricated:
        """Return the same, to live on another device."""
        settings: Any = {"seed": self.seed, "dtype": self.here.dtype}
        return Unfabricated(self.behaviours, self.shape, device=device, **settings)

    def fabricate(self) -> Cells:
        """Return the cells, as they would have been from the start."""
        return self.spec.cells_type(
            self.behaviours,
            self.shape,
            seed=self.seed,
            dtype=self.here.dtype,
            device=self.here.device,
        )

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name in Cells.__annotations__ or hasattr(self.spec.cells_type, name):
                raise ValueError(REFUSAL) from None
            raise

    def _apply(self, fn: Any, recurse: bool = True) -> Unfabricated:
        super()._apply(fn, recurse)
        # `torch.nn.Module.to_empty` leaves what happens to be in memory.
        self.here = torch.zeros_like(self.here)
        return self

    # ── save and load; see `mho.crossbar.checkpoint` ─────────────────────────────────────────

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        extra.pack(destination, prefix)

    def get_extra_state(self) -> dict[str, Any]:
        """What a checkpoint holds: which cells these will be."""
        kind = str(self.here.dtype).removeprefix("torch.")
        return {"fabricated": False, "seed": self.seed, "born_as": kind}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take back which cells these will be."""
        self.seed = int(state["seed"])
        kind = getattr(torch, str(state["born_as"]))
        self.here = torch.zeros((), dtype=kind, device=self.here.device)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        if f"{prefix}_extra_state" in state_dict:  # else a checkpoint of digital weights alone
            extra.unpack(state_dict, prefix)
            super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """Say so."""
        return "not fabricated yet"
