"""Directions in a network's weight space, along which its loss is looked at.

A direction is a mapping from parameter names to tensors of the parameters' shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import scipy
import torch
from torch import Tensor, nn
from torch.func import functional_call

from mho.core import checks, random
from mho.model.inputs import pair_of

Direction = Mapping[str, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]

NORMALISATIONS = ("filter", "layer", "none")


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a model's parameters: one point of a training trajectory."""
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def random_direction(
    model: nn.Module, *, seed: int = 0, normalise: str = "filter"
) -> dict[str, Tensor]:
    """Return a Gaussian direction, normalised so that landscapes of different nets compare.

    Source: H. Li, Z. Xu, G. Taylor, C. Studer, T. Goldstein, "Visualizing the loss landscape of
    neural nets", NeurIPS 2018, arXiv:1712.09913.

    Args:
        model: whose parameters.
        seed: of the draw.
        normalise: ``"filter"``: every output's weights of the direction get the norm of the
            model's own; ``"layer"``: every parameter's do; ``"none"``. Vectors (biases, norms)
            do not move, except with ``"none"``.

    Raises:
        TypeError, ValueError: if an argument is refused.
    """
    checks.instance("model", model, nn.Module)
    checks.one_of("normalise", normalise, NORMALISATIONS)
    seed = checks.integer("seed", seed, least=0)
    direction = {}
    for name, weight in snapshot(model).items():
        source = random.generator(random.derive(seed, name), weight.device)
        drawn = torch.randn(
            weight.shape, generator=source, dtype=weight.dtype, device=weight.device
        )
        direction[name] = _normalised(drawn, weight, normalise)
    return direction


def _normalised(drawn: Tensor, weight: Tensor, normalise: str) -> Tensor:
    if normalise == "none":
        return drawn
    if weight.dim() < 2:
        return torch.zeros_like(drawn)
    dims = tuple(range(1 if normalise == "filter" else 0, weight.dim()))
    size = torch.linalg.vector_norm(weight, dim=dims, keepdim=True)
    own = torch.linalg.vector_norm(drawn, dim=dims, keepdim=True)
    return drawn * (size / own.clamp(min=torch.finfo(own.dtype).tiny))


def trajectory_directions(
    trajectory: Sequence[Direction], count: int = 2
) -> tuple[list[dict[str, Tensor]], Tensor]:
    """Return the main directions of a training trajectory about its last point.

    Args:
        trajectory: as `snapshot` returns them, at least ``count + 1``; the last is the origin.
        count: how many directions.

    Returns:
        Orthonormal directions, and the share of the trajectory's variance that each explains,
        ``[count]``.

    Raises:
        ValueError: if there are too few points or they do not differ.
    """
    count = checks.integer("count", count)
    if len(trajectory) < count + 1:
        raise ValueError(f"trajectory must have at least {count + 1} points, got {len(trajectory)}")
    last = trajectory[-1]
    steps = torch.stack([flat(point, last) - flat(last) for point in trajectory[:-1]])
    _, size, basis = torch.linalg.svd(steps, full_matrices=False)
    if not bool(size[count - 1] > torch.finfo(size.dtype).eps * size[0]):
        raise ValueError(f"trajectory must span {count} directions; its points do not differ")
    share = size.square() / size.square().sum()
    return [unflat(row, last) for row in basis[:count]], share[:count]


def hessian_directions(
    model: nn.Module,
    loss: Loss,
    data: Any,
    count: int = 2,
    *,
    seed: int = 0,
    tolerance: float = 1e-3,
) -> tuple[list[dict[str, Tensor]], Tensor]:
    """Return the directions of largest curvature, by Lanczos iteration on Hessian products.

    Args:
        model: a torch model whose loss is twice differentiable; taken in ``eval()`` mode.
        loss: from outputs and targets to a scalar.
        data: inputs and targets, as tensors, arrays, tables or lists; or a Dataset or a DataLoader
            of such pairs.
        count: how many directions.
        seed: of the start of the iteration.
        tolerance: relative accuracy of the eigenvalues.

    Returns:
        Orthonormal directions, and the curvatures (eigenvalues) ``[count]``, largest first.

    Raises:
        TypeError, ValueError: if an argument is refused.
    """
    checks.instance("model", model, nn.Module)
    count = checks.integer("count", count)
    inputs, targets = pair_of("data", data, model)
    tolerance = checks.number("tolerance", tolerance, above=0.0)
    point = snapshot(model)
    whole = flat(point)
    count = checks.integer("count", count, most=len(whole) - 1)

    with eval_mode(model), torch.enable_grad():
        whole = whole.requires_grad_()
        value = loss(functional_call(model, unflat(whole, point), (inputs,)), targets)
        (gradient,) = torch.autograd.grad(value, whole, create_graph=True)

    def product(vector: object) -> object:
        v = torch.as_tensor(vector, dtype=whole.dtype, device=whole.device).flatten()
        (curved,) = torch.autograd.grad(gradient, whole, v, retain_graph=True)
        return curved.cpu().double().numpy()

    source = random.generator(seed)
    start = torch.randn(len(whole), generator=source, dtype=torch.float64).numpy()
    linalg = scipy.sparse.linalg
    operator = linalg.LinearOperator((len(whole),) * 2, matvec=product, dtype="float64")
    values, vectors = linalg.eigsh(operator, k=count, which="LA", v0=start, tol=tolerance)
    order = values.argsort()[::-1].copy()
    basis = torch.from_numpy(vectors.T[order].copy()).to(whole.detach())
    return [unflat(row, point) for row in basis], torch.from_numpy(values[order].copy())


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Hold a model in ``eval()`` mode, and put every module back as it was."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def flat(direction: Direction, like: Direction | None = None) -> Tensor:
    """Return a direction (or point) as one vector, in the order of another one's names."""
    return torch.cat([direction[name].flatten() for name in like or direction])


def unflat(vector: Tensor, like: Direction) -> dict[str, Tensor]:
    """Return a vector as a direction with the names and shapes of another."""
    pieces = vector.split([value.numel() for value in like.values()])
    return {
        name: piece.view_as(value)
        for (name, value), piece in zip(like.items(), pieces, strict=True)
    }


def coordinates(point: Direction, origin: Direction, directions: Sequence[Direction]) -> Tensor:
    """Return where a point lies in the plane of some directions: least squares, ``[count]``."""
    basis = torch.stack([flat(d, origin) for d in directions], dim=1).double()
    step = (flat(point, origin) - flat(origin)).double()
    return torch.linalg.lstsq(basis, step[:, None]).solution[:, 0]
