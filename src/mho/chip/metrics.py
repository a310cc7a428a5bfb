"""Mapping error: how far the weights that cells stand for are from those they should."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mho.core import checks
from mho.crossbar.crossbar import Crossbar
from mho.model.crossbars import crossbar_name, layers


@dataclass(frozen=True, eq=False)
class MappingError:
    """How far stored weights are from those asked for; ``e = stored - asked``.

    Attributes:
        norm: ``‖e‖`` (Frobenius).
        relative: ``‖e‖ / ‖asked‖``; the norm itself where all weights asked for are zero.
        rms: root mean square of ``e``.
        worst: largest ``|e|``.
        bias: mean of ``e``.
        columns: ``‖e_j‖`` of every output, ``[cols]``.
        wrong: fraction of weights with ``|e|`` above half of the largest weight asked for: of
            ternary weights those that read as another.
    """

    norm: float
    relative: float
    rms: float
    worst: float
    bias: float
    columns: Tensor
    wrong: float

    @classmethod
    def between(cls, stored: Tensor, asked: Tensor) -> MappingError:
        """Compare two weight matrices ``[rows, cols]``.

        Raises:
            TypeError, ValueError: if they are of another kind, or of different shapes.
        """
        checks.instance("asked", asked, Tensor)
        checks.shape("stored", stored, tuple(asked.shape))
        asked = asked.detach().double()
        error = stored.detach().double() - asked
        norm, size = float(error.norm()), float(asked.norm())
        limit = 0.5 * float(asked.abs().max())
        return cls(
            norm=norm,
            relative=norm / size if size else norm,
            rms=float(error.square().mean().sqrt()),
            worst=float(error.abs().max()),
            bias=float(error.mean()),
            columns=error.norm(dim=0),
            wrong=float((error.abs() > limit).double().mean()),
        )

    def __str__(self) -> str:
        return (
            f"relative {self.relative:.3g}, rms {self.rms:.3g}, worst {self.worst:.3g}, "
            f"{self.wrong:.2%} of the weights wrong"
        )


@torch.no_grad()
def mapping_error(
    model: nn.Module, weight: Tensor | None = None
) -> MappingError | dict[str, MappingError]:
    """Compare what crossbars stand for with what they should.

    Args:
        model: a converted model, or a `Crossbar`.
        weight: of a crossbar, what was asked for, ``[groups · rows, cols]``. A layer knows its own.

    Returns:
        One error for a crossbar; for a model one for each of its crossbars, by the name that
        `mho.summary` shows.

    Raises:
        TypeError, ValueError: if the model has no crossbars, or the weight is missing or not
            of the crossbar's shape.
    """
    checks.instance("model", model, nn.Module)
    if isinstance(model, Crossbar):
        if weight is None:
            raise ValueError("a crossbar does not know what it was asked for: give the weight")
        return MappingError.between(model.weight, weight)
    return {
        crossbar_name(name, part, layer): MappingError.between(layer.crossbars[part].weight, matrix)
        for name, layer in layers(model).items()
        for part, matrix in layer.wanted().items()
    }
