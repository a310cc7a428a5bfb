"""Many simulations of one thing: Monte Carlo over chips, a network's accuracy on them."""

from mho.study.chips import over_chips
from mho.study.language import TaskScores, language_model, language_tasks
from mho.study.network import Accuracy, accuracy, ideal_cells

__all__ = [
    "Accuracy",
    "TaskScores",
    "accuracy",
    "ideal_cells",
    "language_model",
    "language_tasks",
    "over_chips",
]
