"""Whether weights on cells follow what updates ask of them, or training stalls."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mho.train.on_cells.weights import WeightCells

_SAMPLE = 256  # weights of an array that are watched
_FIRST = 128  # updates before the first look; each window is twice as long as the one before
_ASKED = 3.0  # steps (root mean square) that must have been asked for
_FOLLOWED = 0.1  # share of it that weights must have done


class _Track(NamedTuple):
    at: Tensor
    before: Tensor
    asked: Tensor
    pulses: int


class Watch:
    """Compares what updates have asked of some weights with how these have moved.

    With S the sum of all changes asked for and D the displacement, ``S·D/S·S`` is 1 where the
    cells do what they are told, noise apart, also once training has converged. It is near 0 where
    changes are below what rounds to a pulse, and where set and reset pulses undo each other (an
    asymmetric cell near its symmetry point). Looking costs no read of the cells: parameters are
    what these hold.
    """

    def __init__(self) -> None:
        self._tracks: dict[Tensor, _Track] = {}
        self._updates, self._next = 0, _FIRST

    @torch.no_grad()
    def ask(self, parameter: Tensor, cells: WeightCells, change: Tensor, rate: float = 1.0) -> None:
        """Add up what an update asks for; see `Lookout.ask`."""
        track = self._tracks.get(parameter)
        if track is None:
            every = max(parameter.numel() // _SAMPLE, 1)
            index = torch.arange(0, parameter.numel(), every, device=parameter.device)
            before = parameter.detach().flatten()[index].clone()
            track = _Track(index, before, torch.zeros_like(before), int(cells.writes.sum()))
            self._tracks[parameter] = track
        track.asked.add_(change.reshape(-1)[track.at].to(track.asked), alpha=rate)

    @torch.no_grad()
    def look(self, held: dict[Tensor, WeightCells]) -> str:
        """Count an update; return what is wrong when a window ends, else "".

        Args:
            held: the cells of each parameter.
        """
        self._updates += 1
        if self._updates < self._next:
            return ""
        self._next = 3 * self._next if self._next == _FIRST else 2 * self._next
        said = [self._stalled(p, cells) for p, cells in held.items() if p in self._tracks]
        self._tracks.clear()
        return next(filter(None, said), "")

    def _stalled(self, parameter: Tensor, cells: WeightCells) -> str:
        track = self._tracks[parameter]
        asked = track.asked
        steps = float(asked.square().mean().sqrt()) / cells.step
        if not steps >= _ASKED:
            return ""
        moved = parameter.detach().flatten()[track.at] - track.before
        followed = float(torch.dot(asked, moved) / torch.dot(asked, asked))
        if followed >= _FOLLOWED:
            return ""
        fired = (int(cells.writes.sum()) - track.pulses) / max(cells.count, 1)
        so_far = (
            f"training stalls: in the mean weights were asked to move by {steps:.3g} steps of a "
            f"pulse ({cells.step:.2g}) since the last look, and have done "
            f"{max(followed, 0):.0%} of it"
        )
        if fired < 0.5:
            return (
                f"{so_far}, with {fired:.2g} pulses a cell: each update is below half a step. "
                "rounding='stochastic' or threshold=1.0 (InSitu) keeps small changes, and a larger "
                f"learning rate or a smaller weight_range than ({cells.low:g}, {cells.high:g}) "
                "makes them larger"
            )
        return (
            f"{so_far}, with {fired:.3g} pulses a cell: set and reset pulses undo each other, or "
            "weights are at a bound. On asymmetric cells take TikiTaka or InSitu(threshold=1.0); "
            "see mho.train.check_device"
        )
