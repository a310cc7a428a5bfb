"""What `convert` says in one line, and `summary` in many."""

import warnings

import pytest
import torch
from torch import nn

import mho
from mho.model.report import pattern, percent


class Block(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, width)
        self.mix = Odd(width)

    def forward(self, x):
        return self.mix(self.up(self.norm(x)))


class Odd(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.w = nn.Parameter(torch.randn(width, width))

    def forward(self, x):
        return x @ self.w


class Model(nn.Module):
    def __init__(self, blocks=3):
        super().__init__()
        self.table = nn.Embedding(5, 8)
        self.h = nn.ModuleList([Block() for _ in range(blocks)])
        self.norm = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.table(x)
        for block in self.h:
            x = block(x)
        return self.head(self.norm(x))


def said(model, **settings):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mho.convert(model, mho.Hardware(), **settings)
    return [str(w.message) for w in caught]


def test_one_line_with_all_that_is_to_say():
    (text,) = said(Model(), skip="h.2.up", inputs=torch.randint(5, (4,)))
    assert "\n" not in text
    assert text == (
        "left digital: "
        "3 Odd: 'h.0.mix', 'h.1.mix', 'h.2.mix' (no crossbar layer for this type); "
        "Embedding 'table' (looked up; on crossbars with embeddings=True); "
        "Linear 'h.2.up' (not selected); "
        "4 LayerNorm and BatchNorm1d (no matrix to store); "
        "tables aside, 40% of matrix weights and 40% of multiply–accumulates on crossbars"
    )  # (64 + 64 + 40) of (6 · 64 + 40), the table aside


def test_many_alike_are_named_by_their_pattern():
    (text,) = said(Model(50))
    assert "50 Odd: 'h.*.mix' (no crossbar layer" in text
    assert "51 LayerNorm and BatchNorm1d (no matrix to store)" in text
    assert len(text) < 300


def test_a_layer_whose_name_is_a_number_is_told_from_a_count():
    (text,) = said(nn.Sequential(nn.Embedding(5, 8), nn.Linear(8, 8), nn.BatchNorm1d(8)))
    assert text == (
        "left digital: Embedding '0' (looked up; on crossbars with embeddings=True); "
        "BatchNorm1d '2' (no matrix to store); tables aside, 100% of matrix weights on crossbars"
    )


def test_tables_are_said_to_be_aside_only_where_they_are():
    (text,) = said(nn.Sequential(nn.Embedding(5, 8), nn.BatchNorm1d(8)), embeddings=True)
    assert text.endswith("(no matrix to store); 100% of matrix weights on crossbars")
    model = nn.Sequential(nn.Embedding(5, 8), nn.Linear(8, 8))
    with pytest.warns(UserWarning, match="left digital"):
        text = str(mho.summary(mho.convert(model, mho.Hardware())))
    assert "\ntables aside, 100% of matrix weights on crossbars" in text


def test_nothing_where_all_is_converted():
    assert said(nn.Sequential(nn.Linear(4, 4), nn.ReLU())) == []
    assert said(nn.Sequential(nn.Embedding(4, 4)), embeddings=True) == []


def test_shares_count_each_parameter_once():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), Odd(4))
    model[1].weight = model[0].weight
    with pytest.warns(UserWarning, match="left digital"):
        shares = mho.summary(mho.convert(model, mho.Hardware())).shares
    assert (shares.weights, shares.of_weights) == (16, 32)


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(1, 3, "33%"), (0, 5, "0%"), (5, 5, "100%"), (1, 10**6, "0.01%"), (999_999, 10**6, "99.99%")],
)
def test_little_is_not_nothing_and_almost_all_not_all(part, whole, text):
    assert percent(part, whole) == text


def test_patterns():
    assert pattern("h.3.mlp2.fc") == "h.*.mlp2.fc"
    assert pattern("12") == "*"
    assert pattern("") == ""


def test_a_thousand_layers_print_in_a_few_lines():
    model = nn.Sequential(*[nn.Linear(2, 2) for _ in range(1000)], nn.Linear(2, 3))
    summary = mho.summary(mho.convert(model, mho.Hardware()))
    assert len(summary.layers) == 1001
    text = str(summary)
    assert len(text.splitlines()) < 20
    assert "1000 × *" in text
    assert f"{summary.cells:,}" in text  # totals count every one
    assert "8,000" in text  # the sum over those that are alike


def test_layers_that_all_differ_are_cut_short():
    sizes = list(range(2, 102))
    model = nn.ModuleList([nn.Linear(n, n) for n in sizes])
    text = str(mho.summary(mho.convert(model, mho.Hardware())))
    assert "… 40 more" in text
    assert len(text.splitlines()) < 80


def test_the_long_form_groups_what_is_digital():
    with pytest.warns(UserWarning, match="left digital"):
        analog = mho.convert(Model(30), mho.Hardware())
    text = str(mho.summary(analog))
    assert "(31 × LayerNorm, BatchNorm1d, 496 parameters): no matrix to store" in text
    assert "h.*.mix (30 × Odd, 1,920 parameters): no crossbar layer for this type" in text
    assert len(mho.summary(analog).digital) == 30 + 31 + 1


def test_a_model_without_anything_prints():
    assert "100%" not in str(mho.summary(nn.ReLU()))
