"""Undo: what is done to several crossbars is done to all of them, or to none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from mho.crossbar.crossbar import Crossbar


@contextmanager
def all_or_nothing(crossbars: Iterable[Crossbar]) -> Iterator[None]:
    """Undo every change of some crossbars if the block raises, whatever it is that it raises.

    Chips that lend cells to them are put back, too.
    """
    before = [(crossbar, crossbar.snapshot()) for crossbar in crossbars]
    try:
        yield
    except BaseException:
        with torch.no_grad():
            for crossbar, state in before:
                crossbar.restore(state)
        raise
