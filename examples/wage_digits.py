"""Train with integers (WAGE, ternary weights) beside ordinary training, and put it on crossbars.

python examples/wage_digits.py [--quick] [--out wage_digits]
"""

import statistics

import torch
from sklearn.datasets import load_digits

import mho
from example_options import bars, parsed
from mho.train.quantised import scheme as quantised
from mho.train.quantised import wage

options = parsed(__doc__, "wage_digits", quick="two seeds, less training")
SEEDS = (0, 1) if options.quick else (0, 1, 2)
EPOCHS = 12 if options.quick else 30


def data(seed):
    torch.manual_seed(seed)
    x, y = (torch.tensor(a) for a in load_digits(return_X_y=True))
    order = torch.randperm(len(x))
    x, y = x[order].float() / 16, y[order]
    return x[:1347], y[:1347], x[1347:], y[1347:]


def mlp():
    return torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))


def train(model, optimizer, loss, x, y):
    schedule = torch.optim.lr_scheduler.MultiStepLR(
        optimizer, [EPOCHS // 2, 5 * EPOCHS // 6], 1 / 8
    )
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            loss(model(x[batch]), y[batch]).backward()
            optimizer.step()
        schedule.step()


def accuracy(model, x, y):
    model.eval()
    with torch.no_grad():
        return 100 * float((model(x).argmax(1) == y).float().mean())


def in_floats(seed):
    train_x, train_y, test_x, test_y = data(seed)
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    train(model, optimizer, torch.nn.functional.cross_entropy, train_x, train_y)
    return accuracy(model, test_x, test_y), None


def in_integers(scheme, seed):
    train_x, train_y, test_x, test_y = data(seed)
    model = wage.initialise(quantised.quantise(mlp(), scheme), seed=seed)
    optimizer = scheme.optimizer(torch.optim.SGD(model.parameters(), lr=8.0), seed=seed)
    train(model, optimizer, wage.sse, train_x, train_y)
    chip = mho.convert(model, mho.Hardware(encoding=mho.encoding.Ternary()), seed=seed)
    return accuracy(model, test_x, test_y), accuracy(chip, test_x, test_y)


means, spreads = {}, {}


def show(name, results):
    columns = [[r for r in column if r is not None] for column in zip(*results, strict=True)]
    cells = [
        f"{statistics.mean(c):.1f} ± {statistics.stdev(c):.1f} %" if c else "–" for c in columns
    ]
    for column, where in zip(columns, ("as trained", "on crossbars"), strict=True):
        if column:
            label = f"{name}, {where}"
            means[label], spreads[label] = statistics.mean(column), statistics.stdev(column)
    print(f"{name:<28}{cells[0]:>16}{cells[1]:>16}")


print(f"{'digits, 64-256-10':<28}{'as trained':>16}{'on crossbars':>16}")
show("floats", [in_floats(seed) for seed in SEEDS])
for rule in wage.SHIFTS:
    scheme = wage.WAGE(2, 8, 8, 8, shift=rule)
    show(f"WAGE 2-8-8-8, shift {rule}", [in_integers(scheme, seed) for seed in SEEDS])
bars(means, options.out / "wage_digits.png", "test accuracy (%)", spreads)
