"""What is tried, to see whether it can be done: whatever it fails with, the answer is no."""

import ast
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import mho
from mho.circuit import Wires, solve_nonlinear
from mho.compat.xbtorch.devices import utils
from mho.crossbar import checkpoint
from mho.devices import ExponentialDevice, open_loop
from mho.study import statistics, sweeps
from mho.train.on_cells import coincidence

SOURCE = Path(mho.__file__).parents[1]


def law(error):
    g = torch.full((64, 64), 1e-5, dtype=torch.float64)

    def current(v):
        if v.shape != (64, 64, 64):
            raise error("these vectors alone")
        return g * v

    wires = Wires(word=1.0, bit=1.0)
    drive = torch.ones(64, 64, dtype=torch.float64)
    return float(solve_nonlinear(current, (64, 64), wires, drive).residual.max()) < 1e-9


def single_cells(error):
    def write(g, pulse):
        if g.numel() > 1:
            raise error("one cell")
        return g + pulse

    found = utils._pulsed(SimpleNamespace(write=write), torch.ones(3), torch.ones(3))
    return found.tolist() == [2.0, 2.0, 2.0]


def eight_bits(error):
    def fails(*_):
        raise error("not here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "_int_mm", fails, raising=False)
        return coincidence._int8_works.__wrapped__("cpu") is False


def window(error):
    class Own(ExponentialDevice):
        def replace(self, **changes):
            raise error("as it is")

    return open_loop._allowed(Own(), "g_max", 1.0) is False


def unread(error):
    def fails(*_):
        raise error("of another version")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint.Hardware, "from_dict", fails)
        patch.setattr(statistics.Spec, "from_dict", fails)
        told = '{"type": "ADC", "bits": 6}'
        return checkpoint.present({"a": 1}) == {"a": 1} and statistics._said(told) == told


def first_configuration(error):
    def fails(*_):
        raise error("not together")

    evaluate = SimpleNamespace(check=lambda hardware: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps, "with_settings", fails)
        return sweeps._check_first(evaluate, mho.Hardware(), {}, ()) is None


PROBES = (law, single_cells, eight_bits, window, unread, first_configuration)


@pytest.mark.parametrize("error", [RuntimeError, ValueError, KeyError, ZeroDivisionError, OSError])
@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.__name__)
def test_it_is_a_no_however_it_fails(probe, error):
    statistics._said.cache_clear()
    assert probe(error)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.__name__)
def test_who_interrupts_it_is_heard(probe):
    statistics._said.cache_clear()
    with pytest.raises(KeyboardInterrupt):
        probe(KeyboardInterrupt)


def swallowing(tree):
    """Yield lines of handlers that end what only raising it again should."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            told = "BaseException" if node.type is None else ast.unparse(node.type)
            raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            if ("BaseException" in told or "KeyboardInterrupt" in told) and not raises:
                yield node.lineno


def test_nothing_swallows_an_interruption():
    found = {
        str(path.relative_to(SOURCE)): lines
        for room in ("mho", "mho_cli")
        for path in sorted((SOURCE / room).rglob("*.py"))
        if (lines := list(swallowing(ast.parse(path.read_text(encoding="utf-8")))))
    }
    assert set(found) == {"mho_cli/app.py"}  # the command's own: it says so and ends with 130
    assert list(swallowing(ast.parse("try: f()\nexcept: pass"))) == [2]
