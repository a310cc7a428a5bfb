"""Programming: how cells come to hold what they are asked to; write–verify on whole arrays."""

from mho.cells.programming import (
    Exact,
    OpenLoop,
    Programming,
    Round,
    Site,
    Statistical,
    Written,
)
from mho.devices.waveforms import programming_signal
from mho.programming.crossbar import program_crossbar
from mho.programming.descent import ProductReport
from mho.programming.product import ProductDescent
from mho.programming.pulses import Pulses
from mho.programming.recipe_files import load_recipe, save_recipe
from mho.programming.recipes import Recipe, Sheet
from mho.programming.replaying import replay
from mho.programming.report import REASONS, ProgrammingError, WriteReport
from mho.programming.scheme import WriteVerify
from mho.programming.significances import Significances, best_significances
from mho.programming.successive import Successive
from mho.programming.verify import write_verify

__all__ = [
    "REASONS",
    "Exact",
    "OpenLoop",
    "ProductDescent",
    "ProductReport",
    "Programming",
    "ProgrammingError",
    "Pulses",
    "Recipe",
    "Round",
    "Sheet",
    "Significances",
    "Site",
    "Statistical",
    "Successive",
    "WriteReport",
    "WriteVerify",
    "Written",
    "best_significances",
    "load_recipe",
    "program_crossbar",
    "programming_signal",
    "replay",
    "save_recipe",
    "write_verify",
]
