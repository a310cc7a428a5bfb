# ruff: noqa
"""A user's program for MemTorch 1.1.6, unmodified: a convolutional network on 32 x 32 x 3 images.

The network is trained, patched, tuned and tested; then accuracy is swept against the resolution of
the converters and the shape of the tiles, and written to a CSV file and a figure.
"""

import copy
import csv
import math
import random

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import memtorch
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from memtorch.bh.crossbar.Program import naive_program
from memtorch.bh.nonideality.NonIdeality import apply_nonidealities
from memtorch.map.Input import naive_scale
from memtorch.map.Parameter import naive_map
from memtorch.mn.Module import patch_model
from memtorch.utils import LoadCIFAR10, LoadMNIST
from sklearn.datasets import load_digits
from torch.autograd import Variable
from torch.utils.data import DataLoader, Dataset

device = torch.device("cpu" if "cpu" in memtorch.__version__ else "cuda")


class Images(Dataset):
    """Digits as coloured images of 32 x 32 pixels, made when they are asked for."""

    def __init__(self, images, targets):
        self.images = images
        self.targets = targets

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        image = np.kron(self.images[index], np.ones((4, 4), dtype=np.float32)) / 16.0
        image = np.stack([image, 1.0 - image, image * image])
        return torch.from_numpy(image) - 0.5, int(self.targets[index])


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(in_channels=3, out_channels=8, kernel_size=5, stride=2, padding=2)
        self.bn1 = nn.BatchNorm2d(num_features=8)
        self.conv2 = nn.Conv2d(in_channels=8, out_channels=16, kernel_size=(3, 3), padding=(1, 1))
        self.bn2 = nn.BatchNorm2d(num_features=16)
        self.pool = nn.MaxPool2d(2, 2)
        self.features = nn.Sequential(nn.Conv2d(16, 12, 1, bias=False), nn.ReLU(inplace=True))
        self.fc1 = nn.Linear(12 * 4 * 4, 32)
        self.fc2 = nn.Linear(32, 10)

    def forward(self, input):
        x = self.pool(F.relu(self.bn1(self.conv1(input))))
        x = self.conv2(x)
        # A layer's output can be viewed, like that of any layer of torch's.
        x = x.view(x.size(0), 16, -1).view(-1, 16, 8, 8)
        x = self.pool(F.relu(self.bn2(x)))
        x = self.features(x)
        x = x.view(-1, self.num_flat_features(x))
        x = F.relu(self.fc1(x))
        return self.fc2(x)

    def num_flat_features(self, x):
        size = x.size()[1:]
        num_features = 1
        for s in size:
            num_features *= s
        return num_features


def test(model, test_loader):
    correct = 0
    for _, (data, target) in enumerate(test_loader):
        output = model(data.to(device))
        pred = output.data.max(1)[1]
        correct += pred.eq(target.to(device).data.view_as(pred)).cpu().sum()

    return 100.0 * float(correct) / float(len(test_loader.dataset))


def train(model, train_loader, epochs, learning_rate=5e-3):
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for epoch in range(epochs):
        model.train()
        for _, (data, target) in enumerate(train_loader):
            data, target = Variable(data.to(device)), Variable(target.to(device))
            optimizer.zero_grad()
            loss = criterion(model(data), target)
            loss.backward()
            optimizer.step()

    model.eval()
    torch.save(model.state_dict(), "trained_model.pt")


def patch(model, **kwargs):
    arguments = dict(
        memristor_model=memtorch.bh.memristor.VTEAM,
        memristor_model_params={"time_series_resolution": 1e-10, "r_on": 1.4e4, "r_off": 5e7},
        module_parameters_to_patch=[torch.nn.Conv2d, torch.nn.Linear],
        mapping_routine=naive_map,
        transistor=True,
        programming_routine=None,
        scaling_routine=naive_scale,
        max_input_voltage=0.3,
        ADC_overflow_rate=0.0,
        verbose=False,
    )
    arguments.update(kwargs)
    patched = patch_model(copy.deepcopy(model), **arguments)
    patched.tune_()
    return patched


random.seed(1)
np.random.seed(1)
torch.manual_seed(1)
images, targets = load_digits(return_X_y=True)
images = images.reshape(-1, 8, 8).astype(np.float32)
train_loader = DataLoader(Images(images[:1400], targets[:1400]), 64, shuffle=True, num_workers=2)
test_loader = DataLoader(Images(images[1400:], targets[1400:]), batch_size=200, num_workers=1)

model = Net().to(device)
train(model, train_loader, epochs=5)
model = Net().to(device)
model.load_state_dict(torch.load("trained_model.pt"), strict=False)
model.eval()
digital = test(model, test_loader)
print("digital %.2f" % digital)

# Loaded once from here on: 397 images.
test_loader = DataLoader(
    [test_loader.dataset[i] for i in range(len(test_loader.dataset))], batch_size=200
)

patched = patch(model)
print("patched %.2f" % test(patched, test_loader))
names = [type(module).__module__.split(".")[-1] for module in patched.modules()]
print("conv layers %d linear layers %d" % (names.count("Conv2d"), names.count("Linear")))
print(patched.conv1)

# The network as it was is still there, at the flick of a switch.
patched.forward_legacy(True)
data, _ = next(iter(test_loader))
with torch.no_grad():
    print("legacy difference %.2e" % (patched(data) - model(data)).abs().max())
patched.forward_legacy(False)

grid = []
for tile_shape in [None, (128, 128), (32, 16)]:
    for bits in np.arange(2, 11, 4):
        accuracy = test(
            patch(model, tile_shape=tile_shape, ADC_resolution=int(bits), quant_method="linear"),
            test_loader,
        )
        shape = "none" if tile_shape is None else "%dx%d" % tile_shape
        print("tiles %s bits %d accuracy %.2f" % (shape, bits, accuracy))
        grid.append([shape, int(bits), accuracy])

with open("cnn.csv", "w", newline="") as f:
    writer = csv.writer(f)
    writer.writerow(["tile_shape", "bits", "accuracy"])
    writer.writerows(grid)

for shape in sorted(set(row[0] for row in grid)):
    plt.plot(
        [r[1] for r in grid if r[0] == shape], [r[2] for r in grid if r[0] == shape], label=shape
    )
plt.xlabel("ADC resolution (bits)")
plt.legend()
plt.savefig("cnn.png")

# Cells of the first kernel: two crossbars, whose difference is in proportion to the weights.
positive, negative = patched.conv1.crossbars
kernel = model.conv1.weight.detach().view(8, -1).numpy()
conductances = np.vectorize(lambda d: d.g)(positive.devices)
difference = conductances - np.vectorize(lambda d: d.g)(negative.devices)
print("correlation %.6f" % np.corrcoef(difference.ravel(), kernel.T.ravel())[0, 1])

# Passive arrays: lines have a resistance.
for line in np.linspace(0.5, 50, 2):
    passive = patch(
        model,
        module_parameters_to_patch=[torch.nn.Linear],
        transistor=False,
        source_resistance=line,
        line_resistance=line,
        tile_shape=(32, 32),
    )
    print("line %.1f accuracy %.2f" % (line, test(passive, test_loader)))
