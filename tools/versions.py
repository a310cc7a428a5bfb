"""Run the fast part of the suite on the oldest or newest versions that pyproject.toml declares.

    python tools/versions.py oldest --python 3.10
    python tools/versions.py newest --python 3.13

The oldest are what ``pyproject.toml`` says, every ``>=`` read as ``==``, for `mho[dev]`. Where a
Python came later than a package, the oldest of that package with a wheel for it is taken, and said;
on the oldest Python that mho declares that is an error. Needs uv and about 8 GB while it runs
(``UV_TORCH_BACKEND=cpu`` in the environment asks for torch's much smaller builds without CUDA).
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

from environments import PROJECT, ROOT, create, declared, install, pin, run

# Of every room what says most for its time; nothing marked slow. Not the compat packages, the site,
# language models, or what takes processes and minutes: those run on the pinned versions.
FAST = (
    "tests/analysis/test_cost.py",
    "tests/analysis/test_landscape.py",
    "tests/chip/test_chip.py",
    "tests/chip/test_mapper.py",
    "tests/circuit/test_admittance.py",
    "tests/circuit/test_solver.py",
    "tests/circuit/test_nonlinear.py",
    "tests/cli/test_extras.py",
    "tests/cli/test_doctor.py",
    "tests/configs/test_aihwkit.py",
    "tests/decomposition",
    "tests/devices/test_device_files.py",
    "tests/devices/test_presets.py",
    "tests/devices/test_pulsed.py",
    "tests/devices/test_reram.py",
    "tests/devices/test_pcm.py",
    "tests/fit/test_retention.py",
    "tests/fit/test_reading.py",
    "tests/nn/test_layers.py",
    "tests/nn/test_registry.py",
    "tests/nn/test_recurrent.py",
    "tests/programming/test_recipes.py",
    "tests/study/test_space.py",
    "tests/study/test_sweep.py",
    "tests/train/test_fit.py",
    "tests/train/test_optimizers.py",
    "tests/train/test_rates.py",
    "tests/train/test_weights.py",
    "tests/train/test_transfer.py",
    "tests/test_aging.py",
    "tests/test_calibrate.py",
    "tests/test_checkpoints_0_1.py",
    "tests/test_compiled.py",
    "tests/test_contracts.py",
    "tests/test_convert.py",
    "tests/test_converters.py",
    "tests/test_crossbar.py",
    "tests/test_effects.py",
    "tests/test_encoding.py",
    "tests/test_ends.py",
    "tests/test_estimate.py",
    "tests/test_exported.py",
    "tests/test_formats.py",
    "tests/test_forward_mode.py",
    "tests/test_imports.py",
    "tests/test_names.py",
    "tests/test_numpy_numbers.py",
    "tests/test_page.py",
    "tests/test_plots.py",
    "tests/test_quantize.py",
    "tests/test_random.py",
    "tests/test_spec_files.py",
    "tests/test_specs.py",
    "tests/test_tracer.py",
)


def oldest_python() -> str:
    """Return the oldest Python declared."""
    return PROJECT["requires-python"].removeprefix(">=")


def _same(version: str, floor: str) -> bool:
    return re.sub(r"(\.0)+$", "", version) == re.sub(r"(\.0)+$", "", floor)


def later(pins: dict[str, str], floors: dict[str, str]) -> list[str]:
    """Return what could not be had as old as declared."""
    return [
        f"{name} {pins[name]} instead of {floor}"
        for name, floor in sorted(floors.items())
        if not _same(pins[name], floor)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("kind", choices=["oldest", "newest"])
    parser.add_argument("--python", help="version; default: the oldest for oldest, else 3.13")
    parser.add_argument("--keep", type=Path, help="folder in which the environment stays")
    parser.add_argument("tests", nargs="*", default=FAST, help="instead of the fast part")
    asked = parser.parse_intermixed_args()
    python = asked.python or (oldest_python() if asked.kind == "oldest" else "3.13")
    with tempfile.TemporaryDirectory() as aside:
        folder = asked.keep or Path(aside) / "environment"
        pins = pin(asked.kind, python, "dev", Path(aside) / "pins.txt")
        if asked.kind == "oldest" and (missed := later(pins, declared("dev"))):
            print("later than declared:", ", ".join(missed))
            if python == oldest_python():
                sys.exit("what is declared cannot be installed together")
        interpreter = create(folder, python)
        install(interpreter, "-r", Path(aside) / "pins.txt")
        install(interpreter, "--no-deps", "-e", ROOT)
        print(f"Python {python}:", *(f"{name} {pins[name]}" for name in sorted(declared("dev"))))
        sys.stdout.flush()
        pytest = ("-m", "pytest", "-n", "2", "-m", "not slow", "--disable-warnings")
        sys.exit(run(interpreter, *pytest, *asked.tests, cwd=ROOT))


if __name__ == "__main__":
    main()
