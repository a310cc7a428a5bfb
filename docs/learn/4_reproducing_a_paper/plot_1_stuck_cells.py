"""A published table: copies against stuck cells
=============================================

Yousuf et al. 2025 (doi 10.1038/s41467-025-56319-6) store every weight several times on a chip
with stuck cells, and average the copies (layer-ensemble averaging). This repeats the shape of
their result, small enough for a laptop; :doc:`on MNIST itself </reproductions/lea_table>` the whole table stands
beside the published one.
"""

# %%
# Ternary weights, as in the paper: each is a pair of cells that hold one of two conductances.
import matplotlib.pyplot as plt
import torch

import mho
from mho.demo.data import digits
from mho.encoding import LEA, Ternary

data = digits(seed=0)
torch.manual_seed(0)
plain = torch.nn.Sequential(
    torch.nn.Linear(64, 128, bias=False), torch.nn.ReLU(), torch.nn.Linear(128, 10, bias=False)
)
model = mho.convert(plain, mho.Hardware(encoding=Ternary(threshold=1.2)), seed=0)
mho.train.fit(
    model.train(),
    torch.optim.Adam(model.parameters(), lr=3e-3),
    (data.train_x, data.train_y),
    torch.nn.functional.cross_entropy,
    epochs=20,
    batch=64,
    seed=0,
)
mho.program(model)
network = mho.collapse(model.eval())  # plain torch, with ternary weights


def evaluate(chip):
    return float((chip(data.test_x).argmax(1) == data.test_y).float().mean())


print(f"without a stuck cell: {evaluate(network):.1%}")

# %%
# More and more stuck cells, half of them low and half high; five chips each. The same seeds break
# the same chips for every method.
stuck = (0.0, 0.05, 0.1, 0.2, 0.4, 0.5)
figure, ax = plt.subplots(figsize=(6.6, 3.9), layout="constrained")
for copies, colour in ((1, "#6B6B6B"), (3, "#D55E00"), (6, "#0072B2")):
    encoding = Ternary() if copies == 1 else LEA(Ternary(), copies=copies)
    found = []
    for share in stuck:
        faults = mho.effects.StuckAt(low=share / 2, high=share / 2)
        hardware = mho.Hardware(encoding=encoding, effects=(faults,))
        design = mho.convert(network, hardware, seed=0).eval()
        found.append(mho.study.over_chips(design, evaluate, range(5)))
    found = torch.stack(found, 1)
    label = "one copy" if copies == 1 else f"{copies} copies"
    mho.plot.accuracy_against([100 * s for s in stuck], found, ax, label=label, colour=colour)
    print(f"{label:9s}", " ".join(f"{100 * a:5.1f}" for a in found.mean(0)))
ax.set_xlabel("stuck cells (%)")
ax.legend()
plt.show()

# %%
# The order is the paper's, and so is the shape: copies move the fall to more stuck cells. The
# digits are an easier task than the paper's, so that all lines fall later. Say such differences
# where you show a figure.
