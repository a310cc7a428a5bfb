"""A small training loop that resumes exactly. Nothing in mho needs it: any loop will do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from mho.core import checks, random
from mho.core.spec import Spec
from mho.train import checkpoint as checkpoints
from mho.train.divergence import Losses, calmer, warn_of
from mho.train.samples import Rows

Loss = Callable[..., Tensor]


class Optimizer(Protocol):
    """What `fit` asks of an optimizer: torch's, and those of `mho.train`."""

    def zero_grad(self) -> None: ...  # noqa: D102
    def step(self) -> Any: ...  # noqa: D102
    def state_dict(self) -> dict[str, Any]: ...  # noqa: D102
    def load_state_dict(self, state: dict[str, Any]) -> Any: ...  # noqa: D102


@dataclass
class History:
    """What happened in training.

    Attributes:
        loss: mean over each finished epoch.
        metric: what ``evaluate`` gave after each finished epoch.
    """

    loss: list[float] = field(default_factory=list)
    metric: list[float] = field(default_factory=list)


@dataclass
class _Progress:
    """Where training stands: all that a checkpoint holds beside model and optimizer."""

    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    history: History = field(default_factory=History)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "loss_sum": self.loss_sum,
            "loss": list(self.history.loss),
            "metric": list(self.history.metric),
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> _Progress:
        """From plain values."""
        history = History(list(saved["loss"]), list(saved["metric"]))
        return cls(saved["epoch"], saved["batch"], saved["loss_sum"], history)


def fit(
    model: nn.Module,
    optimizer: Optimizer,
    data: Any,
    loss: Loss,
    *,
    epochs: int,
    batch: int | None = None,
    seed: int = 0,
    schedule: Any = None,
    after_step: Callable[[nn.Module], object] | None = None,
    before_step: Callable[[nn.Module], object] | None = None,
    teacher: nn.Module | None = None,
    evaluate: Callable[[nn.Module], float] | None = None,
    checkpoint: str | Path | None = None,
    every: int | None = None,
    resume: str = "same",
    label: str | None = None,
) -> History:
    """Train a model in place; a run that was killed goes on where it stood, to the same numbers.

    The order of samples follows from the seed and the epoch alone. A checkpoint holds the model,
    the optimizer (and the cells it writes to), the schedule, torch's global generators (of
    dropout, for one) and the position in the epoch. If there is one at ``checkpoint`` when the
    call begins, it is loaded first, if it is of this run: of the same data, model, optimizer,
    schedule, loss (by name) and order; only ``epochs`` may be more than before. One run at a time
    works on a file.

    A loss that stays far above where this call began is warned of, once; see
    `mho.train.LossWatch`.

    Args:
        model: left in ``eval()`` mode at the end.
        optimizer: of torch or of `mho.train`.
        data: inputs ``[samples, ...]`` and targets ``[samples, ...]``: tensors, arrays, tables or
            lists; a Dataset of such pairs; or a DataLoader of one, of which the samples, how they
            are collated and the batch count: their order is by the seed.
        loss: from outputs and targets to a scalar, the mean over the batch; with a ``teacher`` its
            outputs are the third argument (`mho.train.Recipe.loss`).
        epochs: passes over the data, >= 1.
        batch: samples a step, >= 1; the last step of an epoch takes what is left. If not given:
            the DataLoader's, or 64.
        seed: of the order of samples.
        schedule: a learning-rate scheduler, stepped after every optimizer step.
        after_step: called with the model after every step, for example ``recipe.after_step``.
        before_step: called with the model when gradients are there, for example
            ``recipe.optimisation.clip_gradients``.
        teacher: a model whose outputs for the same inputs the loss is given, too; read in its
            ``eval()`` mode, without gradients.
        evaluate: called with the model in ``eval()`` mode after every epoch.
        checkpoint: file to keep it in; None keeps none.
        every: steps between checkpoints; by default one an epoch. Not without ``checkpoint``.
        resume: ``"same"`` refuses the checkpoint of another run, naming the difference; ``"force"``
            goes on from it all the same, with the settings of the optimizer (of the same kind) and
            of the schedule as they are given now.
        label: names a progress bar (shown on terminals only); None shows none.

    Returns:
        Losses and metrics of all epochs, also of those before a resumption.

    Raises:
        TypeError, ValueError: if an argument is refused, or the checkpoint is damaged, of another
            run, or of more epochs than are asked for; nothing has then changed.
        OSError: if no checkpoint can be written where it is wanted.
        RuntimeError: if the loss is not finite (the last checkpoint is then still good), or another
            run works on the checkpoint.
    """
    checks.instance("model", model, nn.Module)
    _check_parts(optimizer, schedule, loss, before_step, after_step, evaluate)
    _refuse_strangers(model, optimizer)
    if every is not None and checkpoint is None:
        raise ValueError(f"every={every!r} would do nothing without a checkpoint")
    samples = Rows(data, model)
    epochs = checks.integer("epochs", epochs)
    batch = samples.batch if batch is None else checks.integer("batch", batch)
    every = None if every is None else checks.integer("every", every)
    seed = checks.integer("seed", seed, least=0)
    checks.one_of("resume", resume, checkpoints.RESUME)
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    path = None if checkpoint is None else checks.path("checkpoint", checkpoint)
    run: dict[str, Any] = {}
    if teacher is not None:
        checks.instance("teacher", teacher, nn.Module)
        teacher.eval()
    if path is not None:
        checkpoints.check_place(path)
        order = {"seed": seed, "batch": batch, "samples": len(samples)}
        run = checkpoints.identity(model, optimizer, schedule, samples, loss, order, teacher)
    steps = -(-len(samples) // batch)
    losses = Losses()
    with ExitStack() as stack:
        progress = _Progress()
        if path is not None:
            stack.enter_context(checkpoints.alone(path))
            if path.exists():
                found = checkpoints.load(path, parts, run, resume, epochs)
                progress = _Progress.from_dict(found)
        if teacher is not None:
            teacher.eval()
        bar = stack.enter_context(
            tqdm(
                total=epochs * steps,
                initial=progress.epoch * steps + progress.batch,
                desc=label,
                disable=True if label is None else None,
                unit="step",
                leave=False,
            )
        )
        while progress.epoch < epochs:
            model.train()
            for rows in _order(len(samples), batch, seed, progress.epoch)[progress.batch :]:
                inputs, targets = samples[rows]
                optimizer.zero_grad()
                value = loss(model(inputs), targets, *_taught(teacher, inputs))
                value.backward()
                lost = float(value.detach())
                _refuse_infinite(lost, progress, optimizer, inputs, targets)
                warn_of(losses.note(lost), optimizer)
                if before_step is not None:
                    before_step(model)
                optimizer.step()
                if schedule is not None:
                    schedule.step()
                if after_step is not None:
                    after_step(model)
                progress.batch += 1
                progress.loss_sum += lost * len(rows)
                bar.update()
                if path is not None and every and progress.batch % every == 0:
                    checkpoints.save(path, parts, run, progress.to_dict())
            _end_epoch(model, progress, len(samples), evaluate)
            if path is not None:
                checkpoints.save(path, parts, run, progress.to_dict())
    model.eval()
    return progress.history


def _check_parts(optimizer: Any, schedule: Any, loss: Any, *calls: Any) -> None:
    """Refuse what cannot do its part, before anything has been done (TypeError)."""
    wanted: list[tuple[str, Any, tuple[str, ...]]] = [
        ("optimizer", optimizer, ("zero_grad", "step", "state_dict", "load_state_dict"))
    ]
    if schedule is not None:
        wanted.append(("schedule", schedule, ("step",)))
    for name, part, methods in wanted:
        able = all(callable(getattr(part, method, None)) for method in methods)
        if not able or isinstance(part, (type, Spec)):
            raise TypeError(f"{name} must have {' and '.join(methods)}, got {checks.said(part)}")
    names = ("before_step", "after_step", "evaluate")
    for name, call in (("loss", loss), *zip(names, calls, strict=True)):
        if not callable(call) and (call is not None or name == "loss"):
            raise TypeError(f"{name} must be a function, got {checks.said(call)}")


def _refuse_strangers(model: nn.Module, optimizer: Any) -> None:
    """Refuse an optimizer of nothing that the model has."""
    given = [p for group in getattr(optimizer, "param_groups", ()) for p in group["params"]]
    own = set(map(id, model.parameters()))
    if given and not any(id(p) in own for p in given):
        raise ValueError(
            "optimizer must be of the model's own parameters, and has none of them (after "
            "mho.convert they are those of the new model)"
        )


def _taught(teacher: nn.Module | None, inputs: Tensor) -> tuple[Tensor, ...]:
    """Return what a teacher says, if there is one."""
    if teacher is None:
        return ()
    with torch.no_grad():
        return (teacher(inputs),)


def _order(samples: int, batch: int, seed: int, epoch: int) -> Sequence[Tensor]:
    source = random.generator(random.derive(seed, "epoch", epoch))
    return torch.randperm(samples, generator=source).split(batch)


def _refuse_infinite(
    value: float, progress: _Progress, optimizer: Optimizer, inputs: Any, targets: Any
) -> None:
    if math.isfinite(value):
        return
    where = f"the loss is {value} in epoch {progress.epoch + 1}, step "
    where += f"{progress.batch + 1}"
    for name, given in (("inputs", inputs), ("targets", targets)):
        if isinstance(given, Tensor) and not bool(torch.isfinite(given).all()):
            count = int((~torch.isfinite(given)).sum())
            raise RuntimeError(
                f"{where}: its {name} hold {count} of {given.numel()} values that are NaN or "
                "infinite"
            )
    raise RuntimeError(f"{where}: the learning rate may be too high{calmer(optimizer)}")


def _end_epoch(
    model: nn.Module,
    progress: _Progress,
    samples: int,
    evaluate: Callable[[nn.Module], float] | None,
) -> None:
    progress.history.loss.append(progress.loss_sum / samples)
    progress.epoch, progress.batch, progress.loss_sum = progress.epoch + 1, 0, 0.0
    if evaluate is not None:
        model.eval()
        found = checks.plain(evaluate(model))
        if not isinstance(found, int | float):
            raise TypeError(f"evaluate must return a number, got {checks.said(found)}")
        progress.history.metric.append(float(found))
