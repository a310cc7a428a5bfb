"""Checkpoints of `mho.train.fit`: whose run they are, written whole, one run at a time.

A run is known by all that decides its numbers and can be looked at before it starts: the data, the
model's layers, the kind and settings of optimizer and schedule, the loss by name, the order.
"""

from __future__ import annotations

import copy
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

from mho.core import files
from mho.core.digests import digest
from mho.core.spec import first_difference
from mho.crossbar.crossbar import Crossbar
from mho.train.samples import Rows

RESUME = ("same", "force")
_WHOLE = {"run", "progress", "model", "optimizer", "rng"}  # of a checkpoint
_NUMBERS = 3  # of those without which no checkpoint ever was: seed, batch, samples


def check_place(path: Path) -> None:
    """Refuse a path at which no file can be written, before anything is worked out for it.

    Raises:
        FileNotFoundError, IsADirectoryError, PermissionError: saying what is in the way.
    """
    folder = Path(os.path.realpath(path)).parent
    if path.is_dir():
        raise IsADirectoryError(f"checkpoint must be a file, {path} is a folder")
    if not folder.is_dir():
        raise FileNotFoundError(f"checkpoint {path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"checkpoint {path}: nothing can be written in {folder}")


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the only run that works on a checkpoint, until the ``with`` block or the process ends.

    Raises:
        RuntimeError: if another run works on it now.
    """
    real = Path(os.path.realpath(path))  # by whichever name it is called
    lock = FileLock(real.with_name(f".{real.name}.lock"), timeout=0)
    try:
        try:
            lock.acquire()
        except Timeout:
            raise RuntimeError(
                f"another run is at work on checkpoint {real}: give this one a file of its own"
            ) from None
        files.sweep_up(path)
        yield
    finally:
        lock.release(force=True)  # Ctrl-C may come as soon as it is taken, and spoil its count


# ── whose run it is ──────────────────────────────────────────────────────────────────────────


def identity(
    model: nn.Module,
    optimizer: Any,
    schedule: Any,
    samples: Rows,
    loss: Any,
    order: Mapping[str, int],
    teacher: nn.Module | None = None,
) -> dict[str, Any]:
    """Return what tells one run from another, in plain values.

    Args:
        model: to be trained.
        optimizer: as it is before the first step.
        schedule: likewise, or None.
        samples: the data.
        loss: a function: of it the name counts, and what `functools.partial` has bound.
        order: ``seed``, ``batch`` and ``samples``.
        teacher: of whom the parameters count.
    """
    return {
        **order,
        "data": _digest(samples),
        "loss": named(loss),
        "model": {
            name: f"{type(module).__name__} {_shapes(module)}".strip()
            for name, module in model.named_modules()
        },
        "optimizer": {"kind": _kind(optimizer), "groups": _groups(optimizer)},
        "schedule": None if schedule is None else _schedule(schedule),
        "settings": {
            "model": _settings(model),
            "loss": _settings_of_loss(loss),
            "update": None
            if (update := getattr(optimizer, "update", None)) is None
            else repr(update),
            "teacher": None if teacher is None else digest(list(teacher.parameters())),
        },
    }


def named(function: Any) -> str:
    """Return the name of a function or class, with what `functools.partial` binds."""
    if isinstance(function, partial):
        bound = [*map(repr, function.args), *(f"{k}={v!r}" for k, v in function.keywords.items())]
        return f"{named(function.func)}({', '.join(bound)})"
    if isinstance(function, nn.Module):
        return repr(function)
    kind = function if hasattr(function, "__qualname__") else type(function)
    return f"{kind.__module__}.{kind.__qualname__}"


def _kind(optimizer: Any) -> str:
    inner = getattr(optimizer, "inner", None)
    name = named(type(optimizer))
    return name if inner is None else f"{name}({named(type(inner))})"


def _shapes(module: nn.Module) -> str:
    own = module.named_parameters(recurse=False)
    return ", ".join(f"{name} {list(p.shape)}" for name, p in own)


def _settings(model: nn.Module) -> dict[str, str]:
    """Return what torch's own layers say of themselves, and how cells are read in training."""
    found = {}
    for name, module in model.named_modules():
        if type(module).__module__.startswith("torch.nn."):
            found[name] = module.extra_repr()
        elif isinstance(module, Crossbar):
            found[name] = repr(module.injection)
    return found


def _settings_of_loss(loss: Any) -> dict[str, Any]:
    if not isinstance(loss, nn.Module):
        return {}
    values = {k: v for k, v in vars(loss).items() if isinstance(v, int | float | str)}
    return {**values, "tensors": digest(dict(loss.state_dict()))}


def _groups(optimizer: Any) -> list[dict[str, Any]]:
    return [
        {name: _plain(value) for name, value in _begun_with(group).items()}
        for group in _groups_now(optimizer)
    ]


def _begun_with(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a run began with: schedules move some of them as it goes on."""
    found = {name: value for name, value in group.items() if name not in _NOT_SETTINGS}
    if "initial_lr" in found:
        found["lr"] = found.pop("initial_lr")
    if "max_momentum" in found:
        found = {name: v for name, v in found.items() if name not in ("momentum", "betas")}
    return found


_NOT_SETTINGS = ("params", "param_names")
_MOVES = ("last_epoch", "best", "num_bad_epochs", "cooldown_counter", "T_cur", "T_i")
"""What a schedule counts."""
_MILESTONES = "_milestones"  # of torch's SequentialLR


def _schedule(schedule: Any) -> dict[str, Any]:
    """Return what a schedule was given, not what it counts; likewise of those it is made of."""
    state = schedule.state_dict() if hasattr(schedule, "state_dict") else {}
    kept = {
        name: _plain(value)
        for name, value in state.items()
        if isinstance(value, int | float | str | list | Mapping)
        and name not in _MOVES
        and (name == _MILESTONES or not name.startswith("_"))
    }
    if hasattr(schedule, "lr_lambdas"):  # by their names: states do not have functions
        kept["lr_lambdas"] = _plain(schedule.lr_lambdas)
    parts = getattr(schedule, "_schedulers", None)
    if parts is not None:
        kept["parts"] = [_schedule(part) for part in parts]
    return {"kind": named(type(schedule)), **kept}


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return value if isinstance(value, int | float | str | bool | None) else named(value)


def _digest(samples: Rows) -> Any:
    """Return a digest of the data; of a Dataset that works samples out, of its first and last.

    Samples that are drawn anew at every look are known by their shapes alone. To look at them
    draws nothing from torch's generators.
    """
    if samples.whole is not None:
        return digest(samples.whole)
    ends = torch.tensor([0, len(samples) - 1])
    with torch.random.fork_rng():
        first, second = samples[ends], samples[ends]
    if digest(first) == digest(second):
        return digest(first)
    return [f"{part.dtype} {list(part.shape[1:])}" for part in first]


# ── write and read ───────────────────────────────────────────────────────────────────────────


def save(path: Path, parts: Mapping[str, Any], run: Mapping[str, Any], progress: Any) -> None:
    """Write a checkpoint aside and move it: a run killed while it saves keeps the one before."""
    state = {name: part.state_dict() for name, part in parts.items() if part is not None}
    state["run"], state["progress"] = dict(run), progress
    state["rng"] = torch.get_rng_state()
    if torch.cuda.is_available():
        state["cuda_rng"] = torch.cuda.get_rng_state_all()
    handled = sys.exc_info()[1]  # who saves on Ctrl-C has an older one, which is not to be raised
    # Of a file that torch opens itself, a full disk is "unexpected pos 704 vs 598".
    try:
        with files.aside(path) as draft, draft.open("wb") as file:
            torch.save(state, file)
    except RuntimeError as error:
        # Ctrl-C leaves torch's archive incomplete, of which torch complains instead.
        cause = error.__context__
        if isinstance(cause, KeyboardInterrupt) and cause is not handled:
            raise cause from None
        raise


def load(
    path: Path, parts: Mapping[str, Any], run: Mapping[str, Any], resume: str, epochs: int
) -> Any:
    """Load a checkpoint into the parts of a run, and return how far it has come.

    Args:
        path: of the file.
        parts: ``model``, ``optimizer`` and ``schedule``, None where there is none.
        run: as `identity` says of this run.
        resume: ``"same"`` refuses the checkpoint of another run; ``"force"`` takes it, and goes on
            with the settings of the optimizer and the schedule that are given now: as they would
            be after so many steps.
        epochs: that are asked for.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if the file is damaged or no checkpoint, is another run's or does not fit the
            parts, or has more epochs behind it. Then nothing has changed.
    """
    state = _read(path)
    if resume != "force":
        _refuse_other(path, run, state["run"])
    done = state["progress"]["epoch"]
    if done > epochs:
        raise ValueError(
            f"epochs must be >= {done}, those that checkpoint {path} has behind it, got {epochs}"
        )
    there = {name: part for name, part in parts.items() if part is not None}
    before = {name: copy.deepcopy(part.state_dict()) for name, part in there.items()}
    try:
        _take(state, there, run)
    except BaseException as error:
        for name, part in there.items():
            part.load_state_dict(before[name])
        if isinstance(error, Exception):
            raise ValueError(f"checkpoint {path} does not fit: {error}") from error
        raise
    torch.set_rng_state(state["rng"])
    if "cuda_rng" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda_rng"])
    return state["progress"]


def _take(state: Mapping[str, Any], parts: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Load the states of parts; if the optimizer's or schedule's settings differ, these stay."""
    optimizer, schedule = parts["optimizer"], parts.get("schedule")
    settings, known = _groups_of(optimizer), state["run"]
    kind = known.get("optimizer", run["optimizer"])["kind"]  # of older versions it is not known
    if kind != run["optimizer"]["kind"]:
        raise ValueError(f"it is of the optimizer {kind}, given is {run['optimizer']['kind']}")
    for name in ("model", "optimizer"):
        parts[name].load_state_dict(state[name])
    if len(known) == _NUMBERS or all(known[k] == run[k] for k in ("optimizer", "schedule")):
        if schedule is not None and "schedule" in state:
            schedule.load_state_dict(state["schedule"])
        return
    for group, given in zip(_groups_now(optimizer), settings, strict=True):
        for name in group.keys() - given.keys() - set(_NOT_SETTINGS):
            del group[name]
        group.update(given)
    if schedule is not None and "schedule" in state:
        _catch_up(schedule, state["schedule"])


def _catch_up(schedule: Any, reached: Mapping[str, Any]) -> None:
    """Step a schedule as often as another one was: it then is where it would be by itself."""
    steps = reached.get("last_epoch", 0) - getattr(schedule, "last_epoch", 0)
    if "_schedulers" in reached and "last_epoch" not in reached:  # torch's ChainedScheduler
        part = schedule._schedulers[0]
        steps = reached["_schedulers"][0]["last_epoch"] - part.last_epoch
    if steps < 0:
        raise ValueError(f"the schedule has {-steps} steps more behind it: give it a new one")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch misses the optimizer's steps
        for _ in range(steps):
            schedule.step()


def _read(path: Path) -> dict[str, Any]:
    try:
        # On the host: what takes a state over moves it to where it lives itself.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        raise ValueError(
            f"checkpoint {path} is damaged, or none of mho.train.fit: remove it to start anew "
            f"({type(error).__name__})"
        ) from error
    if not isinstance(state, dict) or not state.keys() >= _WHOLE:
        raise ValueError(f"checkpoint {path} is none of mho.train.fit: remove it to start anew")
    return state


def _groups_now(optimizer: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = getattr(optimizer, "param_groups", [])
    return found


def _groups_of(optimizer: Any) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in group.items() if name not in _NOT_SETTINGS}
        for group in _groups_now(optimizer)
    ]


def _named_groups(run: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a run, the optimizer's groups by their numbers."""
    told = {name: run.get(name) for name in known}
    optimizer = told.get("optimizer")
    if isinstance(optimizer, Mapping):
        told["optimizer"] = {**optimizer, "groups": dict(enumerate(optimizer["groups"]))}
    return told


def _refuse_other(path: Path, run: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    # Some versions knew less of a run.
    difference = first_difference(_named_groups(run, found), _named_groups(found, found))
    if difference:
        raise ValueError(
            f"checkpoint {path} is of another run: {difference}. Give this run a file of its own, "
            'or go on from there with resume="force"'
        )
