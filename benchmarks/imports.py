"""What importing costs, against ``import torch``. Prints JSON lines.

    python benchmarks/imports.py [--rounds 9]

Every import runs in a fresh interpreter, the modules in turn in every round; times are the best
round of each (of the processor, with files and bytecode in the cache), since anything else on the
machine only adds.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys

from timing import options, report

MODULES = ("torch", "mho", "mho.compat.memtorch", "mho.compat.xbtorch", "mho.fit")
TIMED = "import time; start = time.process_time(); import {}; print(time.process_time() - start)"


def seconds(module: str) -> float:
    command = [sys.executable, "-c", TIMED.format(module)]
    # Whoever imports mho a second time has its bytecode.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, env=env, capture_output=True, check=True, text=True)
    return float(done.stdout)


def main() -> None:
    given = options(__doc__, rounds=9, quick=2)
    modules = MODULES[:2] if given.quick else MODULES
    best = dict.fromkeys(modules, math.inf)
    for module in modules:
        seconds(module)
    for _ in range(given.rounds):
        for module in modules:
            best[module] = min(best[module], seconds(module))
    for module, time in best.items():
        report(f"import {module}", s=round(time, 3), of_torch=round(time / best["torch"], 2))


if __name__ == "__main__":
    main()
