"""What is to be said of a twin: how well it predicts, what it cannot tell, what it leaves open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mho.fit.estimates import Estimates
from mho.fit.pit import Agreement
from mho.fit.twin_task import Found, Task

if TYPE_CHECKING:
    from mho.fit.judged import Judged

_ENTANGLED = 0.95
_MANY = 0.1
_FAR = 5.0
_HARDLY = 0.3  # of the outputs' own spread
_TELLING = 3.0  # standard errors


def verdict(task: Task, found: Found, twin: Judged) -> str:
    """Return one paragraph."""
    said = [
        f"{len(twin.measured)} held-out reads of {twin.measured.shape[1]} lines are off by "
        f"{100 * twin.error:.2g} % (rms, of the outputs' own spread)",
        distribution(twin.agreement, twin.deviations),
    ]
    if twin.error > _HARDLY:
        said.append("so the products hardly explain the outputs: are lines and rows in order")
    said += units(task, found)
    said += suspects(task, found)
    said += entangled(task, twin.estimates)
    said += at_its_end(task, found)
    said += follows(task, found)
    said += unexplained(twin.agreement)
    return "; ".join(said) + "."


def distribution(agree: Agreement, deviations: np.ndarray) -> str:
    """Say whether errors have their predicted distribution."""
    outcome = "are" if agree.holds else "are not"
    return (
        f"their errors {outcome} distributed as predicted (standard deviation "
        f"{np.sqrt((deviations**2).mean()):.3g} A; Kolmogorov–Smirnov distance "
        f"{agree.distance:.3f}, p = {agree.p_value:.2g})"
    )


def units(task: Task, found: Found) -> list[str]:
    """Say where gains are so far from 1 that a unit is likely wrong."""
    mean = float(found.state.gain.mean())
    if "gain" not in task.free or 1.0 / _FAR < mean < _FAR:
        return []
    return [f"gains are about {mean:.2g}: are inputs in V, conductances in S and outputs in A"]


def suspects(task: Task, found: Found) -> list[str]:
    """Say how many cells are suspicious."""
    if "cells" not in task.free:
        return []
    count, total = int(found.odd.sum()), found.state.g.numel()
    said = f"{count} of {total} cells are suspicious"
    if count > _MANY * total and "programming" not in task.free:
        said += (
            ": so many that the conductances given are rather targets, let 'programming' be free"
        )
    return [said]


def entangled(task: Task, found: Estimates) -> list[str]:
    """Name pairs of shared parameters and mean gain that the data can hardly tell apart."""
    names = [n for n in found.names if n in task.shared]
    places = [found.names.index(n) for n in names]
    correlation = found.correlation[np.ix_(places, places)]
    pairs = [
        f"{names[i]} and {names[j]} are told apart badly (correlation {correlation[i, j]:.2f})"
        for i in range(len(names))
        for j in range(i)
        if abs(correlation[i, j]) > _ENTANGLED
    ]
    gains = [i for i, n in enumerate(found.names) if n.startswith("gain[")]
    if gains:
        inner = found.covariance[np.ix_(gains, gains)].mean()
        for name, place in zip(names, places, strict=True):
            among = found.covariance[gains, place].mean()
            with_gain = among / np.sqrt(inner * found.covariance[place, place])
            if abs(with_gain) > _ENTANGLED:
                pairs.append(
                    f"{name} and the mean gain are told apart badly (correlation {with_gain:.2f})"
                )
    return pairs


def at_its_end(task: Task, found: Found) -> list[str]:
    """Name what was found at the end of its range."""
    values = dict(zip(task.wires, found.state.resistances(task.wires), strict=True))
    if "nonlinearity" in task.free:
        values["compression"] = found.state.compression
    return [f"{name} was found as 0, its least" for name, value in values.items() if value == 0.0]


def follows(task: Task, found: Found) -> list[str]:
    """Say where what lines share is no noise, as it follows the currents themselves."""
    if not found.random.together:
        return []
    mean = task.array.outputs(found.state, task.v).mean(1)
    with_mean = float(np.corrcoef(mean, found.state.common)[0, 1])
    if abs(with_mean) <= _TELLING / len(mean) ** 0.5:
        return []
    return [
        f"what all lines of a read share follows their mean current (correlation {with_mean:.2f}): "
        "that is no noise but a cause which this twin has not (crosstalk, or conductances that are "
        "off together), and gains are not to be trusted"
    ]


def unexplained(agree: Agreement) -> list[str]:
    """Say what structure the held-out errors still have."""
    said = []
    reads, lines = agree.transforms.shape
    if agree.shares:
        said.append(
            f"{100 * agree.shared:.0f} % of the errors' variance is common to all lines of a read "
            "(a reference or a supply that moves, or crosstalk)"
        )
    if abs(agree.lasting) > _TELLING / (reads * lines) ** 0.5:
        said.append(f"errors of one read and the next are correlated by {agree.lasting:.2f}")
    if abs(agree.tails) > _TELLING * (24 / (reads * lines)) ** 0.5:
        said.append(f"their tails are not normal (excess kurtosis {agree.tails:.2f})")
    return [f"unexplained: {'; '.join(said)}"] if said else []
