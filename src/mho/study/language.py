"""Language tasks of the lm-evaluation-harness on chips, as time passes.

Needs ``pip install "mho[lm-eval]"``. The harness knows the tasks and how they are scored; here is
what it does not know: chips, and their age.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mho.core import checks, durations
from mho.core.durations import Duration
from mho.core.extras import need
from mho.core.text import duration, table
from mho.model.lifecycle import age
from mho.study.chips import listed, over_chips

Task = str | dict[str, Any]


@dataclass(frozen=True, eq=False)
class TaskScores:
    """What `language_tasks` returns; print it.

    Attributes:
        names: of the scores, ``"task metric"``.
        digital: the scores of the digital model, ``[scores]``.
        chips: those of the chips as time passes, ``[chips, times, scores]``.
        times: after programming (s); the first is 0.
    """

    names: tuple[str, ...]
    digital: Tensor
    chips: Tensor
    times: tuple[float, ...]

    def __str__(self) -> str:
        """A table: a row for each score, a column for each time, mean ± deviation over chips."""
        several = len(self.chips) > 1
        rows = []
        for i, name in enumerate(self.names):
            found = self.chips[:, :, i]
            cells = [f"{mean:.4g}" for mean in found.mean(0).tolist()]
            if several:
                ends = found.std(0).tolist()
                cells = [f"{cell} ± {end:.2g}" for cell, end in zip(cells, ends, strict=True)]
            rows.append((name, f"{float(self.digital[i]):.4g}", *cells))
        head = ("score", "digital", *(duration(seconds) for seconds in self.times))
        many = len(self.chips)
        return f"{table(head, rows)}\n{many} chip{'s' * (many != 1)}"


def language_model(model: nn.Module, tokenizer: Any, **settings: Any) -> Any:
    """Return a model as the lm-evaluation-harness takes it (``lm_eval.simple_evaluate(model=…)``).

    Args:
        model: of Hugging Face (a ``transformers.PreTrainedModel``), or what `mho.convert` made of
            one. It is read as it is, in ``eval()`` mode.
        tokenizer: of Hugging Face.
        **settings: of the harness's own adapter, as ``batch_size`` and ``max_length``.

    Raises:
        ImportError: if the harness is not installed; the message says how.
        TypeError: if the model is of another kind.
    """
    harness = need("lm_eval.models.huggingface", "lm-eval")
    checks.instance("model", model, need("transformers", "lm-eval").PreTrainedModel)
    return harness.HFLM(
        pretrained=model.eval(), tokenizer=tokenizer, **{"batch_size": 8, **settings}
    )


def language_tasks(
    model: nn.Module,
    analog: nn.Module,
    tokenizer: Any,
    tasks: Sequence[Task],
    *,
    seeds: Sequence[int],
    times: Sequence[Duration] = (0.0,),
    limit: int | None = None,
    before: Callable[[nn.Module], object] | None = None,
    label: str | None = None,
    **settings: Any,
) -> TaskScores:
    """Score a language model on many chips, from programming on; see `over_chips`.

    Args:
        model: the digital one, for comparison.
        analog: what `mho.convert` made of it (or of one trained for the hardware).
        tokenizer: of Hugging Face.
        tasks: names of the harness's tasks, or their configurations as dicts.
        seeds: one chip each.
        times: after programming (s) at which to score, rising from 0.
        limit: at most so many documents of a task; None for all.
        before: called with the chip before each scoring, as ``lambda chip: mho.compensate(chip,
            inputs)``.
        label: names a progress bar; None shows none.
        **settings: as in `language_model`.

    Raises:
        ImportError: if the harness is not installed.
        TypeError, ValueError: if a model is of another kind or has no crossbars, there is no seed
            or no task, times do not rise from 0, or tasks have no score.
    """
    checks.instance("tasks", tasks, (list, tuple))
    if not tasks:
        raise ValueError("tasks must hold at least one task, got none")
    seeds = listed(seeds)
    stops = tuple(durations.seconds("every time", time, least=0.0) for time in times)
    if not stops or stops[0] != 0.0 or any(b <= a for a, b in pairwise(stops)):
        raise ValueError(f"times must rise from 0, got {list(stops)}")
    digital = _scores(language_model(model, tokenizer, **settings), tasks, limit)

    def evaluate(chip: nn.Module) -> Tensor:
        rows, now = [], 0.0
        for stop in stops:
            if stop > now:
                age(chip, stop - now)
                now = stop
            if before is not None:
                before(chip)
            found = _scores(language_model(chip, tokenizer, **settings), tasks, limit)
            rows.append(list(found.values()))
        return torch.tensor(rows, dtype=torch.float64)

    chips = over_chips(analog, evaluate, seeds, label=label)
    alone = torch.tensor(list(digital.values()), dtype=torch.float64)
    return TaskScores(tuple(digital), alone, chips, stops)


def _scores(lm: Any, tasks: Sequence[Task], limit: int | None) -> dict[str, float]:
    """Return the harness's scores by ``"task metric"``; errors that it estimates are left out."""
    # Its progress bars, one for every document and shown on files, too, are not.
    with redirect_stderr(io.StringIO()):
        found = need("lm_eval", "lm-eval").simple_evaluate(
            model=lm, tasks=list(tasks), limit=limit, bootstrap_iters=0, log_samples=False
        )
    scores = {
        f"{task} {metric.removesuffix(',none')}": float(value)
        for task, metrics in found["results"].items()
        for metric, value in metrics.items()
        if isinstance(value, (int, float)) and "stderr" not in metric and "," in metric
    }
    if not scores:
        raise ValueError(f"tasks {list(tasks)} gave no score")
    return scores
