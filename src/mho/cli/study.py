"""From the file of a study to its answer: what ``mho study`` does."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mho
from mho.cli import given
from mho.cli.study_file import StudyFile, load
from mho.core.extras import need
from mho.core.files import drafts
from mho.core.text import duration
from mho.demo.models import MODELS
from mho.model.scoring import check_classifier, share_right
from mho.runs.work import torch_threads
from mho.study import Outcome, Record, accuracy_and_cost, sweep, with_settings
from mho.study.choice import Choice
from mho.study.paths import nearest, reaches
from mho.study.statistics import means, said, varied

_FRESH = 1_000_000  # seeds of the chips on which a choice is made once more
_SOON = 10.0  # s


class Evaluation:
    """Accuracy and cost of a configuration, some of whose names set several fields.

    Attributes:
        objectives: as those of `mho.study.accuracy_and_cost`, and so are units and identity.
    """

    def __init__(self, inner: Any, together: Mapping[str, tuple[str, ...]]) -> None:
        self._inner, self._together = inner, dict(together)
        self.objectives, self.units = inner.objectives, inner.units
        self.identity = {**inner.identity, "together": {k: list(v) for k, v in together.items()}}

    def __call__(
        self, hardware: mho.Hardware, seed: int, settings: Mapping[str, Any]
    ) -> dict[str, float | None]:
        """Return the results of one chip."""
        found: dict[str, float | None] = self._inner(self.set(hardware, settings), seed, settings)
        return found

    def set(self, hardware: mho.Hardware, settings: Mapping[str, Any]) -> mho.Hardware:
        """Return the hardware with the fields that stand together set."""
        fields = {path: settings[name] for name, paths in self._together.items() for path in paths}
        return with_settings(hardware, fields)

    def check(self, hardware: mho.Hardware) -> None:
        """Refuse objectives that are not known."""
        self._inner.check(hardware)


_NEEDED = (
    ("optuna", "study"),
    ("pandas", "study"),
    ("pyarrow", "tables"),
    ("matplotlib", "viz"),
    ("bokeh", "viz"),
)


def run(
    what: str | Path,
    *,
    quick: bool = False,
    out: Path | None = None,
    workers: int | None = None,
    trust: bool = False,
) -> Outcome:
    """Run a study, or go on with it, print what it found and write it to a folder.

    Args:
        what: the file of a study, or the name of a built-in one.
        quick: whether to run its shorter form.
        out: where tables, report and figures go, instead of where the file says.
        workers: processes, instead of what the file says.
        trust: whether the file may write elsewhere than beside itself and in ``out``.

    Returns:
        What was found.

    Raises:
        FileNotFoundError, TypeError, ValueError: if the file is missing or not understood.
        ImportError: if an extra is missing.
    """
    began = time.perf_counter()
    asked = load(str(what), quick=quick, trust=trust)
    for module, extra in _NEEDED:  # what is missing at the end of the work is said before
        need(module, extra)
    folder = asked.out_of(out)
    folder.mkdir(parents=True, exist_ok=True)
    workers = asked.workers if workers is None else workers
    try:
        found, choice = _run(asked, folder, workers)
    except KeyboardInterrupt:
        given_out = [] if out is None else ["--out", str(out)]
        again = shlex.join(
            ["mho", "study", str(what), *["--quick"] * quick, *given_out, *["--trust"] * trust]
        )
        print(f"Stopped; every finished chip is kept. {again} goes on.")
        raise
    files = [*found.save(folder), found.report(folder / "report.html", choice=choice)]
    files += _figures(found, choice, folder)
    print(f"\n{folder}: {', '.join(str(path.relative_to(folder)) for path in files)}")
    print(f"{duration(time.perf_counter() - began)} in all.")
    return found


def _run(asked: StudyFile, folder: Path, workers: int | None) -> tuple[Outcome, Choice | None]:
    # What is cheap to refuse is refused before the network is trained.
    hardware, space, together = asked.hardware_of(), asked.space_of(), asked.together_of()
    architecture, store = asked.architecture_of(), asked.store_of(folder)
    for path in (path for paths in together.values() for path in paths):
        if not reaches(hardware, path):
            raise ValueError(f"together: {nearest(hardware, path)}")
    with torch_threads(1):  # the same numbers on any number of cores
        task = _task(asked)
        digital = _digital(task)
        evaluate = Evaluation(
            accuracy_and_cost(
                task.model,
                task.inputs,
                task.labels,
                task.calibration,
                architecture=architecture,
                objectives=asked.objectives,
                after=asked.after,
            ),
            together,
        )
        _check_best(asked, evaluate, digital)
        print(f"{asked.name}: accuracy {100 * digital:.1f} % in plain PyTorch", flush=True)
        common: dict[str, Any] = {
            "hardware": hardware,
            "store": store,
            "seed": asked.seed,
            "workers": workers,
        }
        found = sweep(
            space,
            evaluate,
            chips=asked.chips,
            sampler=asked.sampler,
            trials=asked.trials,
            free=tuple(together),
            name=asked.name,
            label=asked.name,
            **common,
        )
        print(f"\n{found}")
        choice = None if asked.best is None else _best(found, asked.best, digital)
        if choice is not None:
            print(f"\n{choice}")
        if choice and asked.verify:
            _verify(asked, found, choice, evaluate, tuple(together), common)
    return found, choice


def _check_best(asked: StudyFile, evaluate: Evaluation, digital: float) -> None:
    """Refuse a choice that could not be made of what the study finds."""
    if asked.best is not None:
        known = evaluate.units if asked.architecture is not None else evaluate.objectives
        results = dict.fromkeys(known, 0.0)
        trial = Record(0, 0, {}, results)
        _best(Outcome("", (trial,), evaluate.objectives), asked.best, digital)


def _best(found: Outcome, asked: Mapping[str, Any], digital: float) -> Choice:
    wanted = dict(asked)
    if wanted.get("reference") == "digital":
        wanted["reference"] = {"accuracy": digital}
    return found.best(**wanted)


def _verify(
    asked: StudyFile,
    found: Outcome,
    choice: Choice,
    evaluate: Evaluation,
    free: tuple[str, ...],
    common: Mapping[str, Any],
) -> None:
    """Make the chosen configuration on new chips: of many, the luckiest was chosen."""
    # To begin processes takes seconds: what takes no longer is done here.
    seconds = [r.seconds for r in found.records if r.trial == choice.trial]
    soon = asked.verify * sum(seconds) / len(seconds) < _SOON
    again = sweep(
        {path: [value] for path, value in choice.settings.items()},
        evaluate,
        chips=range(_FRESH, _FRESH + asked.verify),
        free=free,
        name=f"{asked.name}, configuration {choice.trial} once more",
        label="new chips",
        **{**common, "workers": 0 if soon else common["workers"]},
    )
    new = means(again)
    told = (
        f"{name} {said(name, new.mean[0, k], new.sem[0, k], again.units.get(name, ''))}"
        for k, name in enumerate(new.names)
    )
    print(f"  on {asked.verify} new chips: {', '.join(told)}")


def _task(asked: StudyFile) -> given.Task:
    if not asked.model.startswith("demo"):
        return given.task(asked.model, asked.folder)
    name = asked.model.partition(":")[2] or "CNN"
    if name not in MODELS or asked.model not in ("demo", f"demo:{name}"):
        raise ValueError(
            f"model must be demo, {', '.join(f'demo:{one}' for one in MODELS)} or module:function, "
            f"got {asked.model!r}"
        )
    return given.digits_tasks(asked.seed, [name])[f"digits {name}"]


@torch.no_grad()
def _digital(task: given.Task) -> float:
    check_classifier(task.model, task.inputs, task.labels)
    return share_right(task.model, task.inputs, task.labels)


def _figures(found: Outcome, choice: Choice | None, folder: Path) -> list[Path]:
    from mho.plot.study import study_sheet

    each = means(found)
    if not varied(each) or not any(np.isfinite(each.of(n)[0]).any() for n in found.objectives):
        return []  # there is nothing to draw
    path = folder / "study.png"
    with drafts(path) as (draft,):
        study_sheet(found, choice).savefig(draft)
    return [path]
