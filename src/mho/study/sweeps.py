"""Studies: a hardware's fields varied, several chips of every configuration, nothing lost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from mho.hardware import Hardware
from mho.study.records import Outcome
from mho.study.space import Integers, Range

Results = float | Mapping[str, float | None]
Evaluate = Callable[[Hardware, int, Mapping[str, Any]], Results]


def sweep(
    space: Mapping[str, Sequence[Any] | Range | Integers],
    evaluate: Evaluate,
    *,
    hardware: Hardware | None = None,
    chips: int | Sequence[int] = 1,
    store: str | Path | None = None,
    sampler: Any = None,
    trials: int | None = None,
    objectives: Mapping[str, str] | None = None,
    free: Collection[str] = (),
    seed: int = 0,
    workers: int | None = None,
    executor: Executor | Callable[[], Executor] | None = None,
    name: str = "study",
    label: str | None = None,
) -> Outcome:
    """Evaluate many configurations of a hardware, on several chips each; resume where it stopped.

    Every finished chip is in the store before the next one starts. A study that was killed goes on
    when it is called again, and gives what it would have given; several processes or machines that
    call it with one store share its work.

    Args:
        space: what to vary, by path: fields of the hardware (``"adc.bits"``,
            ``"array.wires.word"``, ``"effects.StuckAt.low"``, ``"device"``), and the names in
            ``free``. Values are lists of choices (specs may be among them), `Range` or `Integers`.
        evaluate: called as ``evaluate(hardware, seed, settings)`` for every chip, with the
            configuration's hardware, the chip's seed and what was set by path. It returns a
            number (of the one objective) or a mapping of results by name: all objectives, and
            whatever else is to be recorded. See `accuracy_and_cost` for the usual one.
        hardware: whose fields are varied; the default one if not given.
        chips: how many chips of every configuration (seeds 0, 1, …), or their seeds.
        store: a file (``.db``: SQLite, else a journal), or the URL of a PostgreSQL database
            (``"postgresql://…"``). None keeps the study in memory alone.
        sampler: ``"grid"``, ``"random"``, ``"latin_hypercube"``, ``"tpe"``, ``"nsga2"``, ``"gp"``,
            or a sampler of Optuna. If not given: a grid.
        trials: how many configurations; of a grid None is all.
        objectives: ``"maximize"`` or ``"minimize"``, by the name of a result. If not given: those
            that ``evaluate.objectives`` says, else ``{"accuracy": "maximize"}``.
        free: names in the space that ``evaluate`` alone uses (of the model, of training).
        seed: of the sampler, >= 0.
        workers: how many chips are evaluated at once, each in a process of its own with one thread;
            as many as there are cores if not given. 0 evaluates them here, one after the other.
        executor: of `concurrent.futures`, of Dask or Ray, which evaluates the chips instead of
            processes started here; or a function that makes one (and another, if that one breaks).
        name: of the study; a store may hold several.
        label: names a progress bar (shown on terminals only), which says the best found so far;
            None shows none.

    Returns:
        The records of all chips, those of earlier calls among them.

    Raises:
        ValueError: if a path is neither a field nor free, a value is refused by its field, or the
            store holds another study of this name.
        TypeError: if an argument is of another kind.
    """
    raise NotImplementedError
