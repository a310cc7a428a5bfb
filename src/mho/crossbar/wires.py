"""What wires make of a crossbar's tiles: effective conductances and noise, all tiles at once."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mho.circuit import effective_conductance
from mho.circuit.noise import NoiseForm, noise_form, noise_moments
from mho.core.constants import constant
from mho.crossbar import exact
from mho.crossbar.tiling import Tiling
from mho.encoding.base import Encoding
from mho.hardware import Array, Hardware

NOISE_EVERY = 50
"""Solutions of wires in training after which the noise behind them is found anew."""


def wired(g: Tensor, array: Array, groups: int = 1) -> Tensor:
    """Return the effective conductances of all tiles, as their converters see them.

    A tile that the matrix fills only in part has lines only as long as it needs, unless
    ``array.whole_lines``.

    Args:
        g: conductances ``[slices, groups · rows, cols]`` (S).
        array: tile size, wires, and whether the slices share word lines.
        groups: how many matrices lie side by side, each on tiles of its own.

    Returns:
        ``T``, shaped like ``g`` (S); ``g`` itself where wires are ideal. Differentiable.
    """
    if array.wires.ideal or not bool(g.any()):
        return g
    tiling = Tiling.of(g, groups, array)

    def solved(tiles: Tensor) -> Tensor:
        wires = array.wires_of(*tiles.shape[-2:])
        return effective_conductance(tiles, wires) if bool(tiles.any()) else tiles

    return tiling.join([[solved(tiles) for tiles in band] for band in tiling.cut(g)])


def wired_noise(
    g: Tensor,
    variance: Tensor,
    encoding: Encoding,
    array: Array,
    groups: int = 1,
    *,
    transposed: bool = False,
) -> tuple[NoiseForm, ...]:
    """Return the noise of converters' currents that white noise of the cells makes behind wires.

    Args:
        g: conductances ``[slices, groups · rows, cols]`` (S).
        variance: of every cell, shaped like ``g`` (S²).
        encoding: says which slices' currents flow together.
        array: tile size, wires, and whether the slices share word lines.
        groups: how many matrices lie side by side, each on tiles of its own.
        transposed: drive the bit lines and convert the word lines; of one group.

    Returns:
        A form for each band of tiles, whole ones and shorter ones: ``[groups, tiles, rows of a
        tile, lines]`` for tiles below one another; transposed ``[1, tiles, lines of a tile,
        converters · rows]`` for tiles beside one another.
    """
    tiling = Tiling.of(g, groups, array)
    # Each [converters, groups, down, across, 1 + probes, inputs, outputs].
    moments = [
        [_tile_moments(*pair, encoding, array, transposed) for pair in zip(*bands, strict=True)]
        for bands in zip(tiling.cut(g.detach()), tiling.cut(variance), strict=True)
    ]
    if transposed:
        # Word lines of all tiles in a column of tiles, converter by converter.
        moments = [list(column) for column in zip(*moments, strict=True)]
        order = (1, 3, 4, 5, 0, 2, 6)
    else:
        order = (1, 2, 4, 5, 0, 3, 6)
    forms = []
    for band in moments:
        lines = [m.permute(order).flatten(-2) for m in band]  # […, inputs, converters, outputs]
        forms.append(noise_form(torch.cat(lines, dim=-1).flatten(-2)).to(g))
    return tuple(forms)


def _tile_moments(
    tiles: Tensor, variance: Tensor, encoding: Encoding, array: Array, transposed: bool
) -> Tensor:
    """Return the moments of equal tiles as converters see them.

    Args:
        tiles: conductances ``[arrays, groups, down, across, rows, lines]`` (S).
        variance: of every cell (S²).
        encoding: as for `wired_noise`, and so the others.
        array: likewise.
        transposed: likewise.

    Returns:
        ``[converters, groups, down, across, 1 + probes, inputs, outputs]`` (S²).
    """
    analog = constant(encoding.analog, torch.float64, tiles.device)
    wide = tiles.shape[-1]
    lead = tiles.shape[:4]
    g, of_cells = tiles.flatten(0, 3), variance.flatten(0, 3)
    wires = array.wires_of(*g.shape[-2:])

    def moments(sense: Tensor) -> Tensor:
        found = noise_moments(g, of_cells, wires, sense, transposed=transposed)
        return found.unflatten(0, lead)

    eye = torch.eye(wide, dtype=torch.float64, device=tiles.device)
    if not array.interleaved:
        # Cells of different arrays are independent: their noise adds up in its variance.
        return torch.einsum("ka,agdx...->kgdx...", analog.square(), moments(eye))
    each = eye[:: encoding.slices]
    shifted = [each.roll(s, dims=1) for s in range(encoding.slices)]
    joint = [sum(float(a) * e for a, e in zip(row, shifted, strict=True)) for row in analog]
    return torch.stack([moments(torch.as_tensor(sense))[0] for sense in joint])


class TileWires:
    """The wires of one crossbar's tiles, and what they were last solved for.

    Args:
        array: tile size and wires.
        groups: how many matrices lie side by side.
    """

    def __init__(self, array: Array, groups: int) -> None:
        self.array, self.groups = array, groups
        self._cells: Tensor | None = None
        self._version: int | None = None
        self._solved: Tensor | None = None
        self._attenuation: Tensor | None = None
        self._noise: tuple[NoiseForm, ...] | None = None
        self._error: tuple[Tensor, int | None, float] | None = None
        self._seen: list[tuple[weakref.ref[Tensor], int | None]] = []
        self._age, self._due = 0, False
        self._solutions, self._new = 0, False

    def knows(self, g: Tensor) -> bool:
        """Whether `stored` would answer at once."""
        # Loading a checkpoint, or a user's hand, changes the cells in the very same tensor.
        version = _version(g)
        same = self._cells is g and self._version == version and version is not None
        return self.array.wires.ideal or same

    def stored(self, g: Tensor) -> Tensor:
        """Return ``T`` for stored conductances: solved once for each tensor."""
        if self.array.wires.ideal:
            return g
        if self._solved is None or not self.knows(g):
            self._cells, self._version = g, _version(g)
            self._solved = wired(g, self.array, self.groups)
        return self._solved

    def error(self, g: Tensor, hardware: Hardware) -> float:
        """Return `mho.crossbar.exact.linearisation_error` of stored conductances, found once."""
        version = _version(g)
        if self._error is None or self._error[0] is not g or self._error[1] != version:
            self._error = g, version, exact.linearisation_error(g, hardware, self.groups)
        return self._error[2]

    def fresh(self, g: Tensor, made_of: Sequence[Tensor] = ()) -> Tensor:
        """Return ``T`` for conductances drawn in training, differentiable in them.

        Solved exactly for every ``array.solve_every``-th version of the weights; in between each
        cell keeps the attenuation of the last solution, at most 1, as a constant. Inside of a
        transform of ``torch.func`` it is always solved, and nothing is kept.

        Args:
            g: conductances (S).
            made_of: the tensors that an optimizer moves, of which the weights are made. While they
                stay as they are reads are all solved or none is, so that a forward pass that is
                computed twice (`torch.utils.checkpoint`) sees the same twice. Without them every
                call counts as another version.
        """
        if self.array.wires.ideal:
            return g
        if _transformed(g):
            return wired(g, self.array, self.groups)
        if not self._has_seen(made_of):
            self._age += 1
            self._due = self._new = self._attenuation is None or self._age >= self.array.solve_every
            self._seen = [(weakref.ref(tensor), _version(tensor)) for tensor in made_of]
            self._age = 0 if self._due else self._age
        if not self._due:
            return g * self._attenuation.to(g)  # type: ignore[union-attr]
        T = wired(g, self.array, self.groups)
        # Sneak currents pass by cells that (hardly) conduct: no attenuation is to be had of them.
        ratio = T.detach() / g.detach()
        self._attenuation = torch.where(g.detach() > 0, ratio, 1.0).clamp(max=1.0)
        return T

    def fresh_noise(self, g: Tensor, variance: Tensor, encoding: Encoding) -> tuple[NoiseForm, ...]:
        """Return `wired_noise` for conductances just given to `fresh`, or for earlier ones.

        It is far dearer than ``T`` and changes little while weights move: found anew in every
        `NOISE_EVERY`-th solution of `fresh`, and kept in between.
        """
        if _transformed(g):
            return self._noise or wired_noise(g, variance, encoding, self.array, self.groups)
        self._solutions += self._new
        self._new = False
        if self._noise is None or self._solutions >= NOISE_EVERY:
            self._noise = wired_noise(g, variance, encoding, self.array, self.groups)
            self._solutions = 0
        self._noise = tuple(form.to(g) for form in self._noise)
        return self._noise

    def _has_seen(self, made_of: Sequence[Tensor]) -> bool:
        # By the very objects: what torch frees may give its id to another tensor.
        if not made_of or len(made_of) != len(self._seen):
            return False
        pairs = zip(self._seen, made_of, strict=True)
        return all(ref() is t and v == _version(t) for (ref, v), t in pairs)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_seen": []}  # a copy has weights of its own


def _transformed(g: Tensor) -> bool:
    """Whether a tensor lives inside of a transform of ``torch.func``, and ends with it."""
    return torch._C._functorch.is_functorch_wrapped_tensor(g)


def _version(g: Tensor) -> int | None:
    """How often a tensor was changed in place; None where torch does not count."""
    return None if g.is_inference() else g._version
