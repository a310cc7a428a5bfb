"""Circuit: what wires make of an array, solved exactly."""

from mho.circuit.admittance import driver_conductance
from mho.circuit.deck import netlist
from mho.circuit.gated import solve_gated
from mho.circuit.half_select import Bias, bias
from mho.circuit.linearise import Difference, linearisation_error, linearised
from mho.circuit.lowrank import Expansion, expand
from mho.circuit.newton import NotConvergedError
from mho.circuit.nonlinear import NonlinearSolution, solve_nonlinear
from mho.circuit.passive import Disturb, SneakRead, disturb, sneak_read, solve_bias
from mho.circuit.selector import InSeries, Selector
from mho.circuit.solution import Solution
from mho.circuit.solver import effective_conductance, solve
from mho.circuit.wires import Wires

__all__ = [
    "Bias",
    "Difference",
    "Disturb",
    "Expansion",
    "InSeries",
    "NonlinearSolution",
    "NotConvergedError",
    "Selector",
    "SneakRead",
    "Solution",
    "Wires",
    "bias",
    "disturb",
    "driver_conductance",
    "effective_conductance",
    "expand",
    "linearisation_error",
    "linearised",
    "netlist",
    "sneak_read",
    "solve",
    "solve_bias",
    "solve_gated",
    "solve_nonlinear",
]
