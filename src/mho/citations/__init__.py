"""Citations: the papers behind what a configuration uses.

Every class says in its docstring where it is from, by doi or arXiv number; components and recipes
say so in ``source``. `cite` walks through what it is given, collects these, and looks them up in
``papers.bib``. So a new device is cited as soon as its docstring names its paper, and a test holds
the table to the docstrings.
"""

from mho.citations.collect import cite
from mho.citations.table import Citations, Entry

__all__ = ["Citations", "Entry", "cite"]
