"""Comparing numbers that may be far below 1e-12."""

import pytest


def near(value, rel=1e-6):
    """Nearly that value, however small it is.

    `pytest.approx` allows 1e-12 by itself, which is a picojoule, or a square micrometre in m².
    """
    return pytest.approx(value, rel=rel, abs=0.0)
