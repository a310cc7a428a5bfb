"""What a fitted current–voltage law is worth, in words."""

from __future__ import annotations

_HANG = 0.5  # correlation of neighbouring residuals above which a law misses the shape
_SEPARATES = 0.02  # of the current that one shape for all states may miss


def told(
    law: str,
    relative: float,
    hang: float,
    states: tuple[int, float] | None,
    span: tuple[float, float],
    assumed: list[str],
) -> str:
    """Return the verdict.

    Args:
        law: its name.
        relative: root mean square residual over that of the current.
        hang: correlation of residuals that are neighbours in voltage.
        states: how many, and what one shape for all misses; None for one state.
        span: lowest and highest voltage (V).
        assumed: what of the window was not given, each in words.
    """
    parts = [f"The {law} law misses {relative:.2%} of the current (root mean square)"]
    if hang > _HANG:
        other = "" if law == "table" else "; the law table follows any curve"
        parts[0] += (
            f", and neighbouring residuals correlate by {hang:.2f}: it is the shape that is "
            f"missed, not noise, and the errors of the estimates are too small{other}."
        )
    else:
        parts[0] += f", as noise does: neighbouring residuals correlate by {hang:.2f}."
    if states is not None:
        many, missed = states
        how = "separates" if missed < _SEPARATES else "does not quite separate"
        parts.append(
            f"The current of the {many} states {how} into g · f(v): one f for all misses "
            f"{missed:.2%} of the current more than one f each."
        )
    if assumed:
        parts.append(f"One curve shows no window: {' and '.join(assumed)}; give g_min and g_max.")
    beyond = "goes on in a straight line" if law == "table" else "is extrapolated"
    parts.append(f"Measured from {span[0]:.3g} to {span[1]:.3g} V; beyond, the law {beyond}.")
    return " ".join(parts)
