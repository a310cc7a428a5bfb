"""Codewords keep their distance, decoding is the nearest word, reading stops early without loss."""

import functools
import itertools
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import nn

import mho
from mho.chip import (
    CollaborativeClassifier,
    codes,
    collaborative,
    hamming,
    head_of,
    least_distance,
    search_code,
)
from mho.effects import StuckAt


def confusion(classes=10, seed=0):
    return torch.rand(classes, classes, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("classes", "bits", "distance"), [(10, 15, 7), (10, 10, 4), (4, 7, 4), (3, 20, 10), (2, 9, 9)]
)
def test_codewords_keep_their_distance(classes, bits, distance):
    code = search_code(confusion(classes), bits, distance=distance)
    assert tuple(code.shape) == (classes, bits)
    for i, j in itertools.combinations(range(classes), 2):
        assert int((code[i] != code[j]).sum()) >= distance
    assert least_distance(code) >= distance
    assert not (code.all(0) | (~code).all(0)).any()  # no bit is idle


def test_the_largest_distance_attained_is_known_to_be_the_best():
    # Optimal codes of ten words: Plotkin's bound says 8 of 15 bits and 5 of 10 bits.
    assert least_distance(code_of(15)) == 8
    assert least_distance(code_of(10)) == 5
    assert least_distance(search_code(confusion(8), 7)) == 4  # the simplex code


def test_confused_classes_are_kept_apart():
    counts = torch.ones(10, 10)
    counts[3, 8] = counts[8, 3] = 500.0
    counts[1, 7] = 300.0
    code = search_code(counts, 12, distance=3)
    apart = hamming(code)
    mean = float(apart.sum()) / 90
    assert int(apart[3, 8]) >= 11
    assert int(apart[1, 7]) > mean


def test_search_is_repeatable_and_refuses():
    assert torch.equal(search_code(confusion(), 12), search_code(confusion(), 12))
    with pytest.raises(ValueError, match=r"at distance 9 was found; at most 6 is possible"):
        search_code(confusion(), 12, distance=9)
    with pytest.raises(ValueError, match="bits must be >= 4"):
        search_code(confusion(), 3)
    with pytest.raises(ValueError, match=r"confusion must be \[classes, classes\]"):
        search_code(torch.ones(3, 4), 5)
    with pytest.raises(ValueError, match=r"confusion must be \[classes, classes\]"):
        search_code(torch.zeros(1, 1), 3)  # one class needs no code
    with pytest.raises(ValueError, match="confusion must be >= 0"):
        search_code(-confusion(), 8)


def test_all_words_are_looked_at_once_where_they_are_few():
    words = codes._candidates(5, torch.Generator())
    assert words.shape == (32, 5)
    assert len(words.unique(dim=0)) == 32


@functools.cache
def code_of(bits):
    return search_code(confusion(), bits)


def head(bits=15):
    return CollaborativeClassifier(4, code_of(bits))


def test_decoding_is_the_nearest_codeword_and_corrects_errors():
    layer = head()
    code, capacity = layer.codewords, (least_distance(layer.codewords) - 1) // 2
    assert capacity == 3
    source = torch.Generator().manual_seed(0)
    for label in range(10):
        for _ in range(20):
            bits = code[label].clone()
            wrong = torch.randperm(15, generator=source)[:capacity]
            bits[wrong] = ~bits[wrong]
            logits = torch.where(bits, 0.3, -2.0).unsqueeze(0)
            assert int(layer.decode(logits)) == label
            assert int(layer.decode_early(logits)[0]) == label
    logits = torch.randn(50, 15, generator=source)
    naive = ((logits > 0).unsqueeze(1) != code).sum(-1)
    assert torch.equal(layer.distances(logits), naive.to(logits))
    bit = torch.where(code, logits.unsqueeze(1), -logits.unsqueeze(1)).sigmoid().log()
    assert torch.allclose(layer.distances(logits, soft=True), -bit.sum(-1), atol=1e-4)


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.integers(2, 9), st.integers(5, 14))
def test_reading_until_certain_finds_the_same_class(seed, classes, bits):
    source = torch.Generator().manual_seed(seed)
    code = torch.rand(classes, bits, generator=source) < 0.5
    if len({tuple(word) for word in code.tolist()}) < classes:
        return
    layer = CollaborativeClassifier(3, code)
    layer.order = torch.randperm(bits, generator=source)
    logits = torch.randn(40, bits, generator=source)
    found, used = layer.decode_early(logits)
    assert torch.equal(found, layer.decode(logits))
    assert int(used.min()) >= 1
    assert int(used.max()) <= bits


def test_reading_stops_early():
    layer = head()
    bits = layer.codewords.float() * 2 - 1
    found, used = layer.decode_early(bits)
    assert torch.equal(found, torch.arange(10))
    assert float(used.float().mean()) < 13
    rough, fewer = layer.decode_early(bits, margin=2)
    assert float(fewer.float().mean()) < float(used.float().mean())
    assert float((rough == torch.arange(10)).float().mean()) > 0.8


def test_loss_is_the_mean_cross_entropy_of_the_bits():
    layer = head()
    logits, labels = torch.randn(6, 15), torch.tensor([0, 3, 9, 9, 1, 2])
    p = logits.sigmoid()
    code = layer.codewords[labels]
    naive = -torch.where(code, p.log(), (1 - p).log()).mean()
    assert torch.allclose(layer.loss(logits, labels), naive, atol=1e-6)


def test_the_most_reliable_bits_come_first():
    layer = head()
    labels = torch.arange(10).repeat(30)
    logits = layer.codewords[labels].float() * 2 - 1
    source = torch.Generator().manual_seed(0)
    unreliable = torch.linspace(0.0, 0.45, 15)
    flip = torch.rand(300, 15, generator=source) < unreliable
    layer.rank(torch.where(flip, -logits, logits), labels)
    assert layer.order[:3].max() < 6
    assert layer.order[-3:].min() > 8


def test_refusals():
    with pytest.raises(ValueError, match="codewords must be boolean"):
        CollaborativeClassifier(4, torch.zeros(3, 4))
    with pytest.raises(ValueError, match="all be different"):
        CollaborativeClassifier(4, torch.zeros(3, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="of 5 classes"):
        collaborative(nn.Sequential(nn.Linear(3, 5)), head().codewords)
    with pytest.raises(ValueError, match=r"no torch.nn.Linear"):
        collaborative(nn.ReLU(), head().codewords)
    with pytest.raises(ValueError, match="it has 0"):
        head_of(nn.ReLU())


def test_it_tolerates_faults_better_than_ten_outputs():
    torch.manual_seed(0)
    x, y = (torch.tensor(a) for a in load_digits(return_X_y=True))
    x = x.float() / 16
    train, test = slice(0, 1200), slice(1200, None)

    def fit(model, loss, steps):
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        for _ in range(steps):
            optimizer.zero_grad()
            loss(model(x[train]), y[train]).backward()
            optimizer.step()
        return model.eval()

    plain = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    fit(plain, nn.functional.cross_entropy, 150)
    guessed = plain(x[train]).argmax(1)
    counts = torch.zeros(10, 10).index_put((y[train], guessed), torch.ones(1200), accumulate=True)
    coded = collaborative(plain, search_code(counts, 31)).train()
    assert coded[2].linear.out_features == 31
    fit(coded, head_of(coded).loss, 150)
    assert isinstance(plain[2], nn.Linear)  # the given model is not changed

    hardware = mho.Hardware(effects=(StuckAt(low=0.1, high=0.1),))
    scores = {"plain": [], "coded": []}
    for seed in range(8):
        # Only the last layer breaks: that is what the code protects.
        warnings.simplefilter("ignore")  # what stays digital stays so on purpose
        analog = mho.convert(plain, hardware, only="2", seed=seed)
        scores["plain"].append((analog(x[test]).argmax(1) == y[test]).float().mean())
        analog = mho.convert(coded, hardware, only="2.linear", seed=seed)
        found = head_of(analog).decode(analog(x[test]), soft=True)
        scores["coded"].append((found == y[test]).float().mean())
    assert sum(scores["coded"]) / 8 > sum(scores["plain"]) / 8 + 0.01
