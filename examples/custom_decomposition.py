"""A decomposition of your own: say only its factors; memory, checks and the rest are there.

Drawn is what it leaves out of a gradient, step by step, beside the least that its rank allows.

    python examples/custom_decomposition.py [--quick] [--out custom_decomposition]
"""

import matplotlib.pyplot as plt
import torch

from mho.decomposition import Decomposition, Factors, TruncatedSVD
from mho.plot import style


class PowerIteration(Decomposition):
    """One power iteration a step, from where the last one of this layer ended."""

    def __init__(self, rank: int) -> None:
        self.rank = rank  # told to whoever decomposes

    def factors(self, input, delta, gradient, key):
        """From a gradient ``[out, in]`` to ``left [out, rank]`` and ``right [in, rank]``."""
        if self.rank > min(gradient.shape):
            raise ValueError(f"rank must be <= {min(gradient.shape)}, got {self.rank}")
        gradient = gradient if gradient.dtype.itemsize >= 4 else gradient.float()
        memory = self.memory(key)  # saved, loaded and forgotten with the decomposition
        start = memory.get("right", torch.eye(gradient.shape[1], self.rank)).to(gradient)
        left, _ = torch.linalg.qr(gradient @ start)
        memory["right"] = gradient.T @ left
        return Factors(left, memory["right"])


def main() -> None:
    from example_options import (  # beside this file, where Python finds it when run
        parsed,
        save_figure,
    )

    options = parsed(__doc__, "custom_decomposition", quick="the same: it takes a second")
    source = torch.Generator().manual_seed(0)
    input, delta = (torch.randn(64, side, generator=source) for side in (100, 50))
    gradient = delta.T @ (input * 0.9 ** torch.arange(100))
    own, best = PowerIteration(rank=8), TruncatedSVD(rank=8)
    least = (best.decompose(None, None, gradient) - gradient).norm() / gradient.norm()
    left_out = []
    for step in range(4):
        rest = (own.decompose(input, delta, gradient) - gradient).norm() / gradient.norm()
        left_out.append(100 * float(rest))
        print(f"step {step}: {100 * rest:.1f} % left out (best of rank 8: {100 * least:.1f} %)")
    print(own, "sends", own.factors(None, None, gradient, 0).numel, "numbers of", gradient.numel())
    with style():
        figure, ax = plt.subplots(figsize=(5.6, 3.4), layout="constrained")
        ax.plot(range(4), left_out, "o-", label="PowerIteration(8)")
        ax.axhline(100 * float(least), linestyle=":", color="grey", label="best of rank 8")
        ax.set(
            xlabel="step", ylabel="left out of the gradient (%)", xticks=range(4), ylim=(0, None)
        )
        ax.legend()
        save_figure(figure, options.out / "custom_decomposition.png")


if __name__ == "__main__":
    main()
