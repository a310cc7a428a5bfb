"""StoredMatrix: a matrix in memory cells, through fabrication, programming and aging.

    weight ──encode──▶ target ──fabricate, program──▶ G ──age──▶ G

State alone: how it is read is `mho.crossbar.Crossbar`'s part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mho.cells import life
from mho.cells.behaviour import Context
from mho.cells.life import Born, ProgramReport
from mho.core import checks, random
from mho.core.spec import first_difference
from mho.hardware import Hardware


class StoredMatrix(nn.Module):
    """What the cells of a `Crossbar` are and hold; arguments and attributes are described there.

    Base class of `Crossbar` only: it splits the heart in two for its readers.
    """

    G: Tensor
    scale: Tensor
    stuck: Tensor | None
    digital: Tensor | None
    rng: Tensor
    gain: Tensor
    offset: Tensor
    reference: Tensor

    def __init__(
        self,
        rows: int,
        cols: int,
        hardware: Hardware,
        *,
        seed: int = 0,
        groups: int = 1,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        checks.integer("rows", rows)
        checks.integer("cols", cols)
        checks.integer("groups", groups)
        checks.instance("hardware", hardware, Hardware)
        self.rows, self.cols, self.groups = rows, cols, groups
        self.hardware = hardware
        self.seconds = 0.0
        self.writes, self.on_chip = 0, False
        encoding = hardware.encoding
        kind: Any = {"dtype": dtype or torch.get_default_dtype(), "device": device}
        refuse_half(kind["dtype"])
        shape = (encoding.slices, groups * rows, encoding.physical_cols(cols))
        scales = (cols,) if encoding.scaling.per_column else ()
        self.register_buffer("G", torch.empty(shape, **kind))
        self.register_buffer("scale", torch.ones(scales, **kind))
        self.register_buffer("stuck", None)
        self.register_buffer("digital", self._even_shares() if encoding.defect_aware else None)
        self.register_buffer("rng", random.stream(seed).to(device))
        self.register_buffer("gain", torch.ones(groups * cols, **kind))
        self.register_buffer("offset", torch.zeros(groups * cols, **kind))
        self.register_buffer("reference", torch.zeros(groups * cols, **kind))

    def refresh(self) -> None:
        """Recompute what reads keep ready; called whenever a buffer has changed."""

    # ── fabricate, program, age ──────────────────────────────────────────────────────────────

    @torch.inference_mode(False)
    @torch.no_grad()
    def reset_parameters(self, seed: int | None = None) -> None:
        """Fabricate all cells anew: another chip of the same kind, not yet programmed.

        Args:
            seed: of the new chip; by default its randomness goes on from the old chip's.

        Raises:
            TypeError, ValueError: if the seed is refused.
        """
        if seed is not None:
            self.rng = random.stream(seed).to(self.rng.device)
        born = life.fabricate(self.hardware, self.context)
        rest = torch.full_like(self.G, self.hardware.device.window[0])
        self._take(born, born.keep_stuck(rest))
        self.writes, self.on_chip = 0, False
        self.refresh()

    @torch.inference_mode(False)
    @torch.no_grad()
    def inhabit(self, born: Born, g: Tensor) -> None:
        """Move to given cells (of a chip), not yet programmed.

        Args:
            born: what the fabrication of these cells drew, shaped as ``G``.
            g: what they hold (S), shaped as ``G``; broken cells what they always read.

        Raises:
            TypeError, ValueError: if a shape is another.
        """
        tensors = [g, *(value for state in born.states for value in state.values())]
        for tensor in tensors if born.stuck is None else [born.stuck, *tensors]:
            checks.shape("every tensor of the cells", tensor, tuple(self.G.shape))
        self._take(born, g)
        self.writes, self.on_chip = 0, True
        self.refresh()

    def _take(self, born: Born, g: Tensor) -> None:
        for index, state in enumerate(born.states):
            for name, value in state.items():
                self.register_buffer(f"state_{index}_{name}", value)
        self.stuck, self.G = born.stuck, g
        if self.digital is not None:
            self.digital = self._even_shares()
        self.reference = torch.full_like(self.reference, torch.nan)
        self.seconds = 0.0

    def _even_shares(self) -> Tensor:
        """The encoding's own weights of converters, the same in every column."""
        digital = torch.tensor(self.hardware.encoding.digital).to(self.G)
        return digital.view(1, -1, 1).repeat(self.groups, 1, self.cols)

    # Not as inference tensors: what is written must serve reads that need gradients.
    @torch.inference_mode(False)
    def program(
        self, weight: Tensor, writer: Callable[[Tensor], Tensor] | None = None
    ) -> ProgramReport:
        """Write a weight matrix to the cells; the clock of aging starts again.

        Converter ranges stay as calibrated; the output correction, made for other cells, does not.

        Args:
            weight: ``[groups · rows, cols]``, finite.
            writer: gives the conductances stored (S) for those asked for, in place of the
                device's and the effects' own programming; see `mho.programming`.

        Returns:
            What was asked for and what is stored.

        Raises:
            TypeError, ValueError: if the weight is of another kind or shape, or not finite; the
                crossbar is then unchanged.
        """
        checks.shape("weight", weight, (self.groups * self.rows, self.cols))
        checks.finite("weight", weight)
        with torch.no_grad():
            weight = weight.detach().to(self.G)
            target, scale = self._encode(weight)
            target, self.digital = self._suited(target, self.born)
            if writer is None:
                g = life.write(target, self.hardware, self.born, self.context)
            else:
                g = self.born.keep_stuck(writer(target).to(self.G))
            self.G, self.scale = g.clone() if g is target else g, scale
            self.seconds = 0.0
            self.writes += 1
            self.gain = torch.ones_like(self.gain)
            self.offset = torch.zeros_like(self.offset)
            self.refresh()
            stored = self.weight
            self.reference = self.column_sums(stored)
            size = float(torch.linalg.vector_norm(weight))
            error = float(torch.linalg.vector_norm(stored - weight))
            broken = 0.0 if self.stuck is None else float(self.stuck.float().mean())
        # A copy: later changes of the cells must not rewrite the report, nor the report the cells.
        return ProgramReport(target, self.G.clone(), error / size if size else error, broken)

    @torch.inference_mode(False)
    @torch.no_grad()
    def age(self, seconds: float) -> None:
        """Let time pass.

        Args:
            seconds: how long (s), >= 0; adds to the time since programming.

        Raises:
            TypeError, ValueError: if it is not a non-negative number.
        """
        checks.number("seconds", seconds, least=0.0)
        start, self.seconds = self.seconds, self.seconds + float(seconds)
        self.G = life.age(self.G, self.hardware, self.born, self.context, start, self.seconds)
        self.refresh()

    @torch.inference_mode(False)
    @torch.no_grad()
    def store(self, g: Tensor) -> None:
        """Set the conductances of all healthy cells directly, past every effect.

        Args:
            g: shaped like ``G`` (S), finite and >= 0.

        Raises:
            TypeError, ValueError: if the conductances are refused; nothing is then changed.
        """
        checks.shape("g", g, tuple(self.G.shape))
        checks.finite("g", g)
        if float(g.min()) < 0:
            raise ValueError(f"g must be >= 0 S, got {float(g.min())!r}")
        self.G = self.born.keep_stuck(g.detach().to(self.G, copy=True))
        self.writes += 1
        self.refresh()

    @property
    def conductance(self) -> Tensor:
        """Stored conductances ``[slices, groups · rows, physical cols]`` (S)."""
        return self.G

    @property
    def weight(self) -> Tensor:
        """The weights ``[groups · rows, cols]`` that the stored conductances stand for."""
        return self.decode(self.G)

    def decode(self, g: Tensor) -> Tensor:
        """Return the weights ``[groups · rows, cols]`` that conductances ``g`` would stand for."""
        return self.hardware.encoding.decode(g, self.scale, self.digital)

    def column_sums(self, weight: Tensor) -> Tensor:
        """Return ``Σ_rows |weight|`` per column ``[groups · cols]``, for weights as stored here."""
        return weight.abs().unflatten(0, (self.groups, self.rows)).sum(1).flatten()

    @property
    def born(self) -> Born:
        """What this crossbar's fabrication drew, read back from its buffers."""
        states: list[dict[str, Tensor]] = [{} for _ in self.hardware.behaviours]
        for key, value in self._buffers.items():
            if key.startswith("state_") and value is not None:
                _, index, name = key.split("_", 2)
                states[int(index)][name] = value
        return Born(tuple(states), self.stuck, self.G)

    def context(self, state: dict[str, Tensor]) -> Context:
        """What a behaviour with this state of its own is told about the cells."""
        window = self.hardware.device.window
        return Context(self.G, *window, self.rng, state=state, seconds=self.seconds)

    def _new_context(self, state: dict[str, Tensor]) -> Context:
        """As `context`, of a chip that was programmed just now."""
        return replace(self.context(state), seconds=0.0)

    def _context_at(self, seconds: float) -> Callable[[dict[str, Tensor]], Context]:
        """As `context`, of a chip that was programmed so many seconds ago."""
        return lambda state: replace(self.context(state), seconds=seconds)

    def _encode(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return self.hardware.encoding.encode(weight, *self.hardware.device.window)

    def _suited(self, target: Tensor, born: Born) -> tuple[Tensor, Tensor | None]:
        """Let an encoding that knows broken cells make the best of them; see `Encoding.suit`."""
        encoding = self.hardware.encoding
        if not encoding.defect_aware:
            return target, None
        window = self.hardware.device.window
        suited, digital = encoding.suit(target, born.stuck, born.stuck_g, self.groups, *window)
        return suited, self._even_shares() if digital is None else digital.to(target)

    # ── save and load ────────────────────────────────────────────────────────────────────────

    def get_extra_state(self) -> dict[str, Any]:
        """What a checkpoint holds beside tensors: plain values only."""
        return {**self._identity(), "seconds": self.seconds, "writes": self.writes}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take back the time since programming and the number of writes."""
        self.seconds = float(state["seconds"])
        self.writes = int(state.get("writes", 0))

    def _identity(self) -> dict[str, Any]:
        shape = [self.groups, self.rows, self.cols]
        return {"hardware": self.hardware.to_dict(), "shape": shape}

    def mismatch(self, state: dict[str, Any], prefix: str = "") -> str | None:
        """Say why a checkpoint does not belong to this crossbar, or None where it does.

        Args:
            state: of a whole model.
            prefix: of this crossbar's keys in it.
        """
        saved = state.get(f"{prefix}_extra_state")
        if not isinstance(saved, dict):
            return None  # torch reports the missing key
        found = {key: saved.get(key) for key in self._identity()}
        difference = first_difference(self._identity(), found)
        return f"{prefix}{difference}" if difference else None

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        trouble = self.mismatch(state_dict, prefix)
        if trouble:
            error_messages: list[str] = args[-1]
            error_messages.append(trouble)
            return
        saved = state_dict.get(f"{prefix}stuck")
        if self.stuck is None and saved is not None:  # cells that once lay on a chip
            self.stuck = torch.zeros_like(saved, device=self.G.device)
        super()._load_from_state_dict(state_dict, prefix, *args)
        self.refresh()


def refuse_half(kind: torch.dtype) -> None:
    """Refuse a precision in which microsiemens are lost (TypeError)."""
    if torch.finfo(kind).bits < 32:
        raise TypeError(
            f"a crossbar's conductances need float32 or float64, got {kind}: microsiemens are "
            "lost in half precision; use model.float(), and torch.autocast around it for speed"
        )
