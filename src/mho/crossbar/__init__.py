"""The heart: one logical matrix on a grid of tiles, from programming to reading."""

from mho.crossbar.crossbar import Crossbar

__all__ = ["Crossbar"]
