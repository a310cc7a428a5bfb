"""A sample is one sequence: reads of an inference wherever time runs, and however it is packed."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import mho
from mho.analysis import cost

HARDWARE = mho.Hardware(device=mho.devices.LinearDevice(1e-6, 1e-4), dac=mho.DAC(8), adc=mho.ADC(8))
X = torch.randn(10, 7, 5, generator=torch.Generator().manual_seed(0))


def reads(model, inputs, **more):
    return [layer.reads for layer in cost(mho.convert(model, HARDWARE), inputs, **more).layers]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_read_once_a_step(kind):
    torch.manual_seed(0)
    assert reads(kind(5, 6, batch_first=True), X) == [7, 7]
    assert reads(kind(5, 6), X.transpose(0, 1)) == [7, 7]
    packed = pack_padded_sequence(X, [7] * 10, batch_first=True)
    assert reads(kind(5, 6, batch_first=True), packed) == [7, 7]
    assert reads(kind(5, 6), X[0]) == [7, 7]  # without a batch dimension: one sequence
    assert reads(kind(5, 6, batch_first=True), [X, X[:4]]) == [7, 7]


def test_packed_sequences_of_several_lengths_count_their_mean():
    packed = pack_padded_sequence(X, [7, 6, 5, 4, 3, 2, 1, 1, 1, 1], batch_first=True)
    assert reads(nn.LSTM(5, 6, batch_first=True), packed) == [3.1, 3.1]


def test_a_time_first_layer_inside_a_model_is_seen_where_it_takes_the_inputs():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(5, 6), nn.Linear(6, 2)

        def forward(self, x):
            return self.head(self.rnn(x)[0][-1])

    assert reads(Tagger(), X.transpose(0, 1)) == [7, 7, 1]
    assert reads(Tagger(), {"x": X.transpose(0, 1)}) == [7, 7, 1]


class Behind(nn.Module):
    """A recurrent layer behind others, which see the inputs first."""

    def __init__(self, first, *, turn=False, pack=None):
        super().__init__()
        self.first, self.rnn, self.head = first, nn.GRU(5, 6), nn.Linear(6, 2)
        self.turn, self.pack = turn, pack

    def forward(self, x):
        x = self.first(x)
        x = x.transpose(0, 1) if self.turn else x
        if self.pack is not None:
            x = pack_padded_sequence(x, self.pack)
        return self.head(self.rnn(x)[1][0])


@pytest.mark.parametrize("first", [nn.Linear(5, 5), nn.LayerNorm(5)])
def test_a_time_first_layer_behind_others_is_seen(first):
    assert reads(Behind(first), X.transpose(0, 1))[-3:] == [7, 7, 1]
    assert reads(Behind(first), [X.transpose(0, 1), X[:4].transpose(0, 1)])[-3:] == [7, 7, 1]
    # The model turns the inputs round itself: they have their samples first.
    assert reads(Behind(first, turn=True), X)[-3:] == [7, 7, 1]
    assert reads(Behind(first, turn=True), X[:7])[-3:] == [7, 7, 1]  # as many as there are steps
    lengths = [7, 6, 5, 4, 3, 2, 1, 1, 1, 1]
    assert reads(Behind(first, pack=lengths), X.transpose(0, 1))[-3:] == [3.1, 3.1, 1]


def test_tokens_with_time_first_are_as_many_sequences():
    tokens = torch.arange(21).view(7, 3)
    assert reads(Behind(nn.Embedding(21, 5)), tokens)[-3:] == [7, 7, 1]
    assert reads(Behind(nn.Embedding(21, 5), turn=True), tokens.mT)[-3:] == [7, 7, 1]


def test_attention_and_what_has_no_batch_dimension():
    torch.manual_seed(0)
    encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0).eval()
    steps = torch.randn(7, 3, 8)
    assert set(reads(encoder, steps)) == {7}
    first = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, norm_first=True).eval()
    assert set(reads(first, steps)) == {7}
    both = nn.Transformer(8, 2, 1, 1, 16, dropout=0.0).eval()
    given = {"src": steps, "tgt": torch.randn(5, 3, 8)}
    assert set(reads(both, given)) == {5, 7}
    other = nn.Transformer(8, 2, 1, 1, 16, dropout=0.0, batch_first=True).eval()
    turned = {name: value.transpose(0, 1) for name, value in given.items()}
    assert set(reads(other, turned)) == {5, 7}
    assert reads(nn.Linear(5, 2), X[0, 0]) == [1]
    assert reads(nn.Conv2d(2, 3, 3), torch.rand(2, 5, 6)) == [12]
    assert reads(nn.Conv2d(2, 3, 3), torch.rand(4, 2, 5, 6)) == [12]


def test_samples_can_be_told():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(5, 6)

        def forward(self, x):
            return self.rnn(x * 1.0)[0]  # no layer sees the inputs themselves

    assert reads(Hidden(), X.transpose(0, 1), samples=10) == [7, 7]
    with pytest.raises(ValueError, match="samples must be >= 1, got 0"):
        reads(Hidden(), X, samples=0)
