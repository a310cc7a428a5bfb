"""Many simulations of one thing: studies over a hardware's fields, Monte Carlo over chips."""

from mho.study.chips import FailedChipsError, over_chips
from mho.study.choice import Choice
from mho.study.evaluations import accuracy_and_cost
from mho.study.executors import RayExecutor
from mho.study.language import TaskScores, language_model, language_tasks
from mho.study.network import Accuracy, accuracy, ideal_cells
from mho.study.paths import with_settings
from mho.study.records import Outcome, Record
from mho.study.sensitivity import Sensitivity
from mho.study.space import Integers, Range
from mho.study.sweeps import sweep

__all__ = [
    "Accuracy",
    "Choice",
    "FailedChipsError",
    "Integers",
    "Outcome",
    "Range",
    "RayExecutor",
    "Record",
    "Sensitivity",
    "TaskScores",
    "accuracy",
    "accuracy_and_cost",
    "ideal_cells",
    "language_model",
    "language_tasks",
    "over_chips",
    "sweep",
    "with_settings",
]
