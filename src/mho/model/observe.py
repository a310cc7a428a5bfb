"""Watching a model at work: what every crossbar is given, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from torch import Tensor, nn

from mho.core.precision import exactly, widened
from mho.crossbar import Crossbar
from mho.crossbar.correction import Correction
from mho.crossbar.undo import all_or_nothing
from mho.model.inputs import batches_of as batches_of

See: TypeAlias = Callable[[Crossbar, Tensor, Tensor], None]
"""Called with a crossbar, its inputs ``[vectors, groups · rows]``, and its outputs without bias."""


def _uncorrected(now: Correction) -> Correction:
    return now.of_ranges_alone


@contextmanager
def observed(
    model: nn.Module,
    crossbars: list[Crossbar],
    start: Callable[[Correction], Correction] = _uncorrected,
) -> Iterator[dict[nn.Module, bool]]:
    """Make every read a tiled read of the stored cells, by default uncorrected.

    If anything fails, here or in what is done meanwhile, everything is as it was.

    Args:
        model: a converted model.
        crossbars: its crossbars.
        start: from the correction of each to the one it has meanwhile.

    Yields:
        The modes that the modules have again afterwards.
    """
    training = {module: module.training for module in model.modules()}
    try:
        with all_or_nothing(crossbars):
            for crossbar in crossbars:
                crossbar.training = False
                crossbar.commit(correction=start(crossbar.correction), observed=True)
            model.eval()
            yield training
            for crossbar in crossbars:
                if crossbar.observed:
                    crossbar.training = training.get(crossbar, False)
                    crossbar.commit(observed=False)
    finally:
        for module, mode in training.items():
            module.training = mode
        for crossbar in crossbars:  # their cells may be others by now
            crossbar.cells.train(crossbar.training)


@contextmanager
def watched(
    crossbars: list[Crossbar],
) -> Iterator[Callable[[nn.Module, list[Any], See], None]]:
    """Show what crossbars are given and answer, pass after pass over sample inputs.

    Args:
        crossbars: those to show, `observed`.

    Yields:
        A function that runs a model on batches (as `batches_of` returns them), showing every
        call of the crossbars to its last argument.
    """
    shown: list[See] = []

    def hook(crossbar: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if not shown:
            return
        assert isinstance(crossbar, Crossbar)
        bias = args[1] if len(args) > 1 else None
        with exactly(args[0].device):  # the model may run under autocast, who looks does not
            shown[0](
                crossbar,
                widened(args[0]).reshape(-1, args[0].shape[-1]),
                widened(output if bias is None else output - bias),
            )

    def watch(model: nn.Module, batches: list[Any], see: See) -> None:
        shown.append(see)
        try:
            for batch in batches:
                if isinstance(batch, Mapping):
                    model(**batch)
                else:
                    model(batch)
        finally:
            shown.clear()

    handles = [crossbar.register_forward_hook(hook) for crossbar in crossbars]
    try:
        yield watch
    finally:
        for handle in handles:
            handle.remove()


def watch(model: nn.Module, crossbars: list[Crossbar], batches: list[Any], see: See) -> None:
    """Run a model once on batches, showing every call of some crossbars; see `watched`."""
    with watched(crossbars) as show:
        show(model, batches, see)
