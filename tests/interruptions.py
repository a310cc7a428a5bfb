"""Interrupting an operation at every step, and telling whether anything is left of it."""

import copy
import functools
import importlib
import warnings
from itertools import pairwise

import torch
from torch import nn

from mho.chip import Chip
from mho.model.crossbars import entries

# Every function through which cells, crossbars and chips change: (module, owner or "", name).
STEPS = (
    ("mho.cells.population", "Cells", "fork"),
    ("mho.cells.population", "Cells", "gather"),
    ("mho.cells.population", "Cells", "scatter"),
    ("mho.cells.population", "Cells", "hold"),
    ("mho.cells.population", "Cells", "count"),
    ("mho.cells.population", "Cells", "program"),
    ("mho.cells.population", "Cells", "age"),
    ("mho.cells.population", "Cells", "_be_born"),
    ("mho.cells.population", "Cells", "set_extra_state"),
    ("mho.cells.population", "Cells", "_load_from_state_dict"),
    ("mho.cells.life", "", "settle"),
    ("mho.cells.life", "", "shown"),
    ("mho.core.random", "", "take"),
    ("mho.crossbar.crossbar", "Crossbar", "commit"),
    ("mho.crossbar.crossbar", "Crossbar", "refresh"),
    ("mho.crossbar.crossbar", "Crossbar", "encode"),
    ("mho.crossbar.crossbar", "Crossbar", "use_cells"),
    ("mho.crossbar.crossbar", "Crossbar", "leave"),
    ("mho.crossbar.crossbar", "Crossbar", "program"),
    ("mho.crossbar.crossbar", "Crossbar", "age"),
    ("mho.crossbar.crossbar", "Crossbar", "reset_parameters"),
    ("mho.crossbar.crossbar", "Crossbar", "reference_of"),
    ("mho.crossbar.crossbar", "Crossbar", "_load_from_state_dict"),
    ("mho.crossbar.reader", "Reader", "read"),
    ("mho.crossbar.reader", "Reader", "observe"),
    ("mho.chip.residents", "Resident", "lend"),
    ("mho.chip.residents", "Resident", "returned"),
    ("mho.chip.residents", "Resident", "left"),
    ("mho.chip.residents", "Resident", "join"),
    ("mho.chip.tenants", "", "move_in"),
    ("mho.crossbar.crossbar", "Crossbar", "rejoin"),
    ("mho.chip.chip", "Chip", "set_extra_state"),
    ("mho.nn.base", "AnalogLayer", "mark_programmed"),
    ("mho.nn.linear", "Linear", "_load_from_state_dict"),
)


class Interruption(KeyboardInterrupt):
    """Raised at one step."""


class Interrupter:
    """Replaces all `STEPS` by functions that count calls, and raise at one of them, once.

    Args:
        monkeypatch: pytest's.

    Attributes:
        where: the step that was interrupted last.
        seen: names of the steps that were passed.
    """

    def __init__(self, monkeypatch):
        self.where, self.seen = "", set()
        self._left, self._error = None, Interruption
        for module, owner, name in STEPS:
            home = importlib.import_module(module)
            home = getattr(home, owner) if owner else home
            label = f"{owner or module.rpartition('.')[2]}.{name}"
            monkeypatch.setattr(home, name, self._counting(label, getattr(home, name)))

    def _counting(self, label, function):
        @functools.wraps(function)
        def step(*args, **kwargs):
            self._tick(label)
            return function(*args, **kwargs)

        return step

    def _tick(self, label):
        if self._left is None:
            return
        self.seen.add(label)
        self._left -= 1
        if self._left < 0:
            self._left, self.where = None, label
            raise self._error

    def interrupts(self, action, number, error=Interruption):
        """Run an action; raise at the step of that number; say whether it came to it."""
        self._left, self._error = number, error
        try:
            action()
        except error:
            if self._left is None:
                return True
            raise
        finally:
            self._left = None
        return False


def fingerprint(modules, inputs):
    """Return everything by which a change of models and chips could be noticed, by name.

    Args:
        modules: models and chips, by name.
        inputs: what the models are read with.
    """
    found = {}
    for label, module in modules.items():
        for key, value in module.state_dict().items():
            found[f"{label} {key}"] = copy.deepcopy(value)
        for name, part in module.named_modules():
            found[f"{label} {name} mode"] = part.training
        if isinstance(module, Chip):
            found[f"{label} residents"] = [
                (r.plain(), id(r.crossbar), r.crossbar is not None and r.crossbar._lease is r)
                for r in module.residents
            ]
            continue
        for entry in entries(module):
            crossbar, name = entry.crossbar, f"{label} {entry.name}"
            found[f"{name} range_shift"] = id(crossbar.range_shift)
            found[f"{name} lease"] = id(crossbar._lease)
            found[f"{name} seconds"] = crossbar.seconds
            found[f"{name} observed"] = crossbar.observed
            found[f"{name} practice"] = crossbar.injection
        twin = copy.deepcopy(module).eval()
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found[f"{label} outputs"] = twin(inputs)
    return found


def differences(before, after):
    """Return the names of what differs, bit for bit."""
    changed = [name for name in before.keys() | after.keys() if name not in before.keys() & after]
    both = before.keys() & after.keys()
    return sorted(changed + [name for name in both if not _same(before[name], after[name])])


def _same(one, two):
    if isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        return (
            one.dtype == two.dtype
            and one.shape == two.shape
            and torch.equal(torch.nan_to_num(one, nan=-7.5), torch.nan_to_num(two, nan=-7.5))
        )
    return one == two


def network(*sizes):
    """Return a small digital network with fixed weights."""
    torch.manual_seed(3)
    layers = []
    for rows, cols in pairwise(sizes):
        layers += [nn.Linear(rows, cols), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
