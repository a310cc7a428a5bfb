"""Loss landscapes: the loss of a network about where its training went."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch

from mho.analysis.landscapes import landscape
from mho.compat._common import truth
from mho.compat.xbtorch.nn.utils import train_classifier

__all__ = ["compute_grid_loss", "reduction_pca", "reduction_random", "train_classifier"]


def reduction_pca(matrix: Any, seed: int = 0) -> tuple[Any, Any, dict[str, Any]]:
    """Return the two principal components of rows, about their mean.

    Args:
        matrix: ``[samples, features]``, two samples or more.
        seed: not needed: the components are computed exactly.

    Returns:
        Coordinates of the rows ``[samples, 2]``, orthonormal directions ``[2, features]``, and
        ``{"explained_vars": [2]}``, their shares of the variance.
    """
    rows = np.asarray(matrix, dtype=np.float64)
    centred = rows - rows.mean(0)
    left, size, right = np.linalg.svd(centred, full_matrices=False)
    # Of both signs the one whose largest entry is positive.
    sign = np.sign(right[np.arange(2), np.abs(right[:2]).argmax(1)])
    directions = right[:2] * sign[:, None]
    share = size[:2] ** 2 / ((size**2).sum() or 1.0)
    return left[:, :2] * size[:2] * sign, directions, {"explained_vars": share}


def reduction_random(matrix: Any, seed: int | None = None) -> tuple[None, Any, dict[str, Any]]:
    """Return two random directions, orthonormal.

    Args:
        matrix: ``[samples, features]``.
        seed: of the draw; None for any.

    Returns:
        None, directions ``[2, features]``, and an empty dict.
    """
    drawn = np.random.default_rng(seed).normal(size=(np.shape(matrix)[1], 2))
    basis, _ = np.linalg.qr(drawn)
    return None, basis.T, {}


def compute_grid_loss(
    model: Any,
    full_weights: Any,
    param_name: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    reduced_dirs: Any,
    data_loader: Any,
    criterion: Any,
    device: Any,
    epoch: int,
    resolution: float = 1,
    fast: bool = True,
    log: bool = False,
) -> tuple[Any, Any, Any]:
    """Return the loss on a grid of weights of one layer; the model is not changed.

    Args:
        model: a torch model, patched or not.
        full_weights: weights by parameter and epoch.
        param_name: of the parameter that moves.
        x_range: from where to where along the first direction.
        y_range: along the second.
        reduced_dirs: two directions, ``[2, weights]``.
        data_loader: inputs and labels.
        criterion: mean loss of outputs and labels.
        device: where to compute.
        epoch: whose weights are in the middle.
        resolution: points for a step of 1.
        fast: the first batch only.
        log: show progress.

    Returns:
        Coordinates along both directions, and losses; all ``[x, y]``.

    Raises:
        ValueError: if the model has no such parameter.
    """
    fast = truth("fast", fast)
    log = truth("log", log)
    centre = copy.deepcopy(model).to(device)
    parameters = dict(centre.named_parameters())
    if param_name not in parameters:
        raise ValueError(f"param_name must be one of {', '.join(parameters)}; got {param_name!r}")
    origin = {k: torch.as_tensor(np.asarray(full_weights[k][epoch])) for k in parameters}
    still = {name: torch.zeros_like(p) for name, p in parameters.items()}
    ways = [torch.as_tensor(np.asarray(way)).to(still[param_name]) for way in reduced_dirs]
    along, across = (still | {param_name: way.view_as(still[param_name])} for way in ways)
    step = 1.0 / resolution
    x, y = (np.arange(low, high + step, step) for low, high in (x_range, y_range))
    line: Any = {"span": [(float(x[0]), float(x[-1]))], "points": len(x)}
    line["label"] = "loss grid" if log else None
    batches = [next(iter(data_loader))] if fast else list(data_loader)
    sizes = np.array([len(labels) for _, labels in batches])
    lines = []
    for place in y:
        with torch.no_grad():
            for name, p in parameters.items():
                p.copy_(origin[name].to(p) + float(place) * across[name])
        found = []
        for inputs, labels in batches:
            batch = inputs.to(device), labels.to(device)
            found.append(landscape(centre, criterion, batch, [along], **line).loss[0])
        lines.append(sizes @ torch.stack(found).double().cpu().numpy() / sizes.sum())
    return *np.meshgrid(x, y, indexing="ij"), np.stack(lines, axis=1)
