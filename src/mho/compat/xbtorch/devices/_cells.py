"""Populations of cells behind a device: made when first written, and moved by pulses."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.compat.xbtorch.devices.utils import floating, stochastic_round
from mho.devices.pulsed import PulsedDevice

_ENOUGH = 4, 1000  # times max_level, but so many: more pulses of one direction do not count


class CellDevice:
    """Mixed into the devices that mho's pulse-count cells stand for.

    Cells are made at the first write of a name and a shape, and are in ``params``; torch's global
    generator seeds them, and the noise of every write.
    """

    params: dict[Hashable, Any]
    max_level: int
    _along: Any = None  # (G, pulses, known) -> conductances: a curve that knows parts of a pulse
    _own_curve: Any = False  # whether `_along`, slower, is to be asked also of whole pulses

    def spec(self) -> PulsedDevice:
        """Return mho's device."""
        raise NotImplementedError

    @torch.no_grad()
    def write(self, G: Any, numPulse: Any, group_param_idx: Any = (0, 0)) -> Tensor:
        """Apply pulses to cells.

        Args:
            G: conductances; they stay what they are.
            numPulse: signed numbers of pulses.
            group_param_idx: names the cells.

        Returns:
            The conductances now. Cells without a pulse keep their very bits.
        """
        G = floating(G)
        G, pulses = torch.broadcast_tensors(G, torch.as_tensor(numPulse, device=G.device))
        known = self._known(G, group_param_idx)
        index = pulses.reshape(-1).nonzero().squeeze(1)  # few cells move in most steps
        some = pulses.reshape(-1)[index]
        counts = some.long()
        whole = torch.equal(counts.to(some), some)
        if self._own_curve or not (whole or self._along is None):
            after = self._along(G, pulses, known).reshape(-1)[index]
        elif whole:
            most = max(_ENOUGH[0] * int(self.max_level), _ENOUGH[1])
            known["cells"].write(G)
            known["cells"].pulse_at(index, counts.clamp(-most, most))
            after = known["cells"].conductance().view(-1)[index]
        else:
            return CellDevice.write(self, G, stochastic_round(pulses), group_param_idx)
        return G.reshape(-1).index_copy(0, index, after.to(G)).view(G.shape)

    def _known(self, G: Tensor, key: Any) -> dict[str, Any]:
        """Return what is known of some cells, these among it."""
        key = key if isinstance(key, Hashable) else tuple(np.ravel(key).tolist())
        spec: Any = self.spec()
        known = self.params.get(key)
        if known is not None and known["cells"].shape != tuple(G.shape):
            key = (key, tuple(G.shape))  # a single cell of that name, say: others are kept
            known = self.params.get(key)
        # Cells of devices that differ in their noise at most are each other's.
        if known is None or known["cells"].spec.replace(c2c=spec.c2c) != spec:
            dtype = G.dtype if G.dtype in (torch.float32, torch.float64) else torch.float32
            seed = _draws(1)[0] if spec.spreads() else 0  # equal cells leave the generator alone
            cells = spec.fabricate(tuple(G.shape), seed=seed, dtype=dtype, device=G.device)
            self.params[key] = known = {"cells": cells, **self._described(cells)}
        cells = known["cells"]
        cells.spec = spec
        if cells.g.device != G.device or cells.g.dtype.itemsize < G.dtype.itemsize:
            cells.to(G)
        self.__dict__.update({name: value for name, value in known.items() if name != "cells"})
        if spec.noisy:
            cells.rng.copy_(torch.tensor(_draws(2)))
        return known

    def _described(self, cells: Any) -> dict[str, Tensor]:
        """Return what XBTorch's programs read of new cells."""
        return {}


def _draws(count: int) -> list[int]:
    return torch.randint(2**62, (count,), dtype=torch.int64).tolist()
