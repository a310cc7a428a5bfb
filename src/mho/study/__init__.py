"""Many simulations of one thing: Monte Carlo over chips."""

from mho.study.chips import over_chips

__all__ = ["over_chips"]
