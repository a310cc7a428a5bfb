"""Two processes that work together, each running one script."""

import os
import subprocess
import sys

import torch


def run(worker, folder):
    """Run ``worker rank init_file result_file`` for both ranks; return what each has saved."""
    results = [folder / f"{rank}.pt" for rank in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, worker, str(rank), folder / "store", result],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, result in enumerate(results)
    ]
    try:
        said = [process.communicate(timeout=300)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert all(process.returncode == 0 for process in processes), said
    return [torch.load(result, weights_only=True) for result in results]
