"""Names where an old API's star imports put them."""

from __future__ import annotations

import sys
from types import FunctionType, ModuleType
from typing import Any


def lend(borrower: Any, *things: Any, **named: Any) -> None:
    """Give a module names of others, for ``import``, ``import *`` and attributes.

    A class or function of its module's name hides the module from attributes, as
    ``memtorch.mn.Linear`` does: as ``borrower``, it carries the module's names, too. Classes,
    functions and modules go by their own names.
    """
    module = borrower if isinstance(borrower, ModuleType) else sys.modules[borrower.__module__]
    given = {thing.__name__.rpartition(".")[2]: thing for thing in things} | named
    vars(module).update(given)
    listed = vars(module).get("__all__")
    if listed is not None:
        listed.extend(name for name in given if name not in listed)
    if borrower is not module:
        for name in (borrower.__name__, *given, *(listed or ())):
            value = vars(module)[name]
            if isinstance(borrower, type) and isinstance(value, FunctionType):
                value = staticmethod(value)  # else it would become a method of its objects
            if not hasattr(borrower, name):
                setattr(borrower, name, value)
