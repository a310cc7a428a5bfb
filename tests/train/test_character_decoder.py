"""The example of a character-level decoder, small enough for a test."""

import json
import math

import pytest
import torch

import scripts

pytest.importorskip("matplotlib").use("Agg")


@pytest.fixture(scope="module")
def example():
    return scripts.example("character_decoder")


def test_the_decoder_looks_at_nothing_to_come_and_at_what_was(example):
    torch.manual_seed(0)
    model = example.Decoder(width=16, blocks=2, heads=2)
    codes = torch.randint(len(example.CHARACTERS), (2, 12))
    changed = codes.clone()
    changed[:, 7] = (changed[:, 7] + 1) % len(example.CHARACTERS)
    one, two = model(codes), model(changed)
    assert torch.equal(one[:, :7], two[:, :7])
    assert ((one - two).abs().amax(-1) > 1e-6)[:, 7:].all()


def test_perplexity_is_that_of_a_guess_for_a_model_that_knows_nothing(example):
    count = len(example.CHARACTERS)

    def guess(codes):
        return torch.zeros(*codes.shape, count)

    pieces = torch.randint(count, (3, example.CONTEXT + 1))
    assert example.perplexity(guess, pieces) == pytest.approx(count, rel=1e-5)


@pytest.mark.slow
def test_a_quick_run_leaves_a_table_and_a_figure(example, tmp_path, capsys):
    example.main(["--quick", "--steps", "30", "--chips", "2", "--out", str(tmp_path)])
    rows = json.loads((tmp_path / "character_decoder.json").read_text())
    assert len(rows) == 4
    for row in rows:
        assert len(row["mean"]) == len(row["spread"]) == len(example.TIMES)
        assert all(math.isfinite(v) and v > 1 for v in (*row["mean"], row["digital"]))
        assert all(math.isfinite(v) for v in row["spread"])
        assert row["digital"] < len(example.CHARACTERS)  # it has learned something
    assert (tmp_path / "character_decoder.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert "trained for analog cells, compensated" in printed
