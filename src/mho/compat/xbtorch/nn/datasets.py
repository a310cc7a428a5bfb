"""Names of eighteen languages, letter by letter."""

# ruff: noqa: N802, PT028
from __future__ import annotations

import glob
import io
import os
import tempfile
import unicodedata
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, random_split

from mho.compat.xbtorch.nn.utils import descend
from mho.core import checks

_URL = "https://download.pytorch.org/tutorial/data.zip"


def findFiles(path: str) -> list[str]:
    """Return the files that match a pattern."""
    return glob.glob(path)


def unicodeToAscii(s: str, vocab: str) -> str:
    """Return a string without accents, and of the letters of a vocabulary only."""
    plain = unicodedata.normalize("NFD", s)
    return "".join(c for c in plain if unicodedata.category(c) != "Mn" and c in vocab)


def read_lines(filename: str, vocab: str) -> list[str]:
    """Return the lines of a file, each as `unicodeToAscii` returns it."""
    text = checks.path("filename", filename).read_text(encoding="utf-8")
    return [unicodeToAscii(line, vocab) for line in text.strip().split("\n")]


def name_to_tensor(MAX_NAME_LENGTH: int, line: str, vocab: str) -> Tensor:
    """Return a name's one-hot letters ``[MAX_NAME_LENGTH, len(vocab)]``; more are cut off."""
    found = torch.zeros(MAX_NAME_LENGTH, len(vocab))
    for place, letter in enumerate(line[:MAX_NAME_LENGTH]):
        found[place, vocab.index(letter)] = 1.0
    return found


def get_dataloaders(
    dataset: Any, train_split: float = 0.8, batch_size: int = 32
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Split a data set at random; return loaders for training, and for tests one by one."""
    count = int(train_split * len(dataset))
    train, test = random_split(dataset, [count, len(dataset) - count])
    return DataLoader(train, batch_size, shuffle=True), DataLoader(test, 1)


def train_rnn(
    model: Any,
    data_loader: Any,
    criterion: Any,
    optimizer: Any,
    epoch: int,
    num_epochs: int = 10,
    device: Any = "cpu",
) -> float:
    """Train for one epoch, gradients clipped to norm 1, and return the mean loss.

    Args: see `mho.compat.xbtorch.nn.utils.train_classifier`.
    """
    model = model.to(device).train()
    total = right = count = 0.0
    for batch in data_loader:
        loss, outputs, labels = descend(batch, model, criterion, optimizer, device, most=1.0)
        total += loss * len(labels)
        right += float((outputs.argmax(1) == labels).sum())
        count += len(labels)
    print(
        f"epoch {epoch + 1}/{num_epochs}: loss {total / count:.4f}, "
        f"accuracy {100 * right / count:.2f} %"
    )
    return total / count


@torch.no_grad()
def test_rnn(model: Any, data_loader: Any, device: Any = "cpu") -> tuple[list[int], list[int]]:
    """Return the classes found for the sequences of a loader, and their labels."""
    model = model.to(device)
    found: list[int] = []
    wanted: list[int] = []
    for inputs, labels in data_loader:
        found += model(inputs.to(device)).argmax(1).tolist()
        wanted += labels.tolist()
    return found, wanted


test_rnn.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test


class NamesDataset(Dataset[Any]):
    """Names and their languages.

    Args:
        data_dict: names by language.
        classes: languages.
        X: names as tensors.
        y: languages as numbers.
    """

    def __init__(self, data_dict: Any, classes: Any, X: Any, y: Any) -> None:
        self.X, self.y, self.data_dict = X, y, data_dict
        self.classes = sorted(classes)
        self.n_classes = len(classes)

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, idx: Any) -> tuple[Tensor, Tensor]:
        return self.X[idx], self.y[idx]


def _download(folder: Path) -> None:
    """Fetch the tutorial's data; ``folder`` is there when all of it is."""
    with urllib.request.urlopen(_URL) as answer:
        packed = zipfile.ZipFile(io.BytesIO(answer.read()))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as part:
        packed.extractall(part)
        unpacked = Path(part) / folder.parent.name
        for one in sorted(unpacked.iterdir(), key=lambda one: one.name == folder.name):
            os.replace(one, folder.parent / one.name)


def get_names(
    vocab: str,
    train_split: float,
    batch_size: int,
    MAX_NAME_LENGTH: int = 8,
    extract_to: str = "./",
) -> tuple[NamesDataset, DataLoader[Any], DataLoader[Any]]:
    """Return the names of PyTorch's tutorial, downloaded if they are not there.

    Args:
        vocab: letters.
        train_split: fraction for training.
        batch_size: of training.
        MAX_NAME_LENGTH: what is longer is cut off.
        extract_to: folder for the data.
    """
    place = Path() if extract_to == "" else checks.path("extract_to", extract_to)
    folder = place / "data" / "names"
    if not folder.is_dir():
        _download(folder)
    names = {Path(f).stem: read_lines(f, vocab) for f in sorted(findFiles(str(folder / "*.txt")))}
    languages = sorted(names)
    pairs = [(name, k) for k, language in enumerate(languages) for name in names[language]]
    X = [name_to_tensor(MAX_NAME_LENGTH, name, vocab) for name, _ in pairs]
    y = [torch.tensor(k) for _, k in pairs]
    dataset = NamesDataset(names, languages, X, y)
    return dataset, *get_dataloaders(dataset, train_split, batch_size)
