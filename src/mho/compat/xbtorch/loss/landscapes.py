"""Loss landscapes: the loss of a network about where its training went."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.analysis.landscapes import landscape


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
    total = (size**2).sum()
    share = size[:2] ** 2 / total if total > 0 else np.zeros(2)
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
    names = [name for name, _ in model.named_parameters()]
    if param_name not in names:
        raise ValueError(f"param_name must be one of {', '.join(names)}; got {param_name!r}")
    step = 1.0 / resolution
    x, y = (np.arange(low, high + step, step) for low, high in (x_range, y_range))
    centre = _at(model, full_weights, epoch, device)
    ways = [_direction(centre, param_name, way) for way in reduced_dirs]
    batches = [next(iter(data_loader))] if fast else list(data_loader)
    loss = np.zeros((len(x), len(y)))
    count = 0
    for inputs, labels in batches:
        found = _grid(centre, criterion, (inputs.to(device), labels.to(device)), ways, x, y, log)
        loss += found * len(labels)
        count += len(labels)
    return *np.meshgrid(x, y, indexing="ij"), loss / count


def _at(model: Any, full_weights: Any, epoch: int, device: Any) -> Any:
    found = copy.deepcopy(model).to(device)
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            parameter.copy_(torch.as_tensor(np.asarray(full_weights[name][epoch])))
    return found


def _direction(model: Any, param_name: str, way: Any) -> dict[str, Tensor]:
    found = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    chosen = found[param_name]
    found[param_name] = torch.as_tensor(np.asarray(way)).to(chosen).view_as(chosen)
    return found


def _grid(model: Any, criterion: Any, data: Any, ways: Any, x: Any, y: Any, log: bool) -> Any:
    rows = []
    label = "loss grid" if log else None
    parameters = dict(model.named_parameters())
    origin = {name: p.detach().clone() for name, p in parameters.items()}
    for place in y:
        with torch.no_grad():
            for name, p in parameters.items():
                p.copy_(origin[name] + float(place) * ways[1][name])
        span = [(float(x[0]), float(x[-1]))]
        line = landscape(
            model, criterion, data, [ways[0]], span=span, points=len(x), label=label
        ).loss[0]
        rows.append(line.double().numpy())
    with torch.no_grad():
        for name, p in parameters.items():
            p.copy_(origin[name])
    return np.stack(rows, axis=1)
