"""All benchmarks of fits, one after the other: pulses, loops, retention and programming, twins.

    python benchmarks/fit.py [loops.csv folder …]

Prints the JSON lines of fit_pulses.py, fit_retention.py, fit_twin.py, fit_dynamics.py and
fit_loops.py, each of which also runs alone and has settings of its own. A folder of measured loops
goes to fit_loops.py, which makes its own without one.
"""

import subprocess
import sys
from pathlib import Path

PARTS = ("fit_pulses", "fit_retention", "fit_twin", "fit_dynamics", "fit_loops")

for part in PARTS:
    given = sys.argv[1:] if part == "fit_loops" else []
    script = Path(__file__).with_name(f"{part}.py")
    subprocess.run([sys.executable, str(script), *given], check=True)
