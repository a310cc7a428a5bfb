"""Ten models on crossbars, small: converted nearly whole, exact where ideal, alike when loaded."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import mho

FOLDER = Path(__file__).parent.parent / "examples" / "models"
BEFORE = list(sys.path)
sys.path.insert(0, str(FOLDER))
import table  # noqa: E402
import zoo  # noqa: E402

sys.path[:] = BEFORE

ENTRIES = [
    pytest.param(
        entry,
        id=entry.name,
        marks=pytest.mark.skipif(
            entry.needs is not None and importlib.util.find_spec(entry.needs) is None,
            reason=f"needs {entry.needs}",
        ),
    )
    for entry in zoo.MODELS
]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*digital:UserWarning")]


def counted(analog):
    """Count by hand: matrices by their Parameters, without tables and what is named a position."""
    stored = {id(p) for layer in mho.layers(analog).values() for p in layer.parameters()}
    looked_up = {id(m.weight) for m in analog.modules() if isinstance(m, torch.nn.Embedding)}
    matrices = {
        id(p): p.numel()
        for name, p in analog.named_parameters()
        if p.dim() > 1
        and p.shape[-2:].numel() > p.shape[-1]
        and (id(p) in stored or id(p) not in looked_up)
        and "position" not in name
    }
    return sum(n for key, n in matrices.items() if key in stored) / sum(matrices.values())


@pytest.mark.parametrize("entry", ENTRIES)
def test_nearly_all_is_on_crossbars_and_an_ideal_read_is_the_model(entry):
    torch.manual_seed(0)
    model = zoo.settled(entry.build(True), entry.inputs(16, True))
    inputs = entry.inputs(2, True)
    ideal = mho.convert(model, table.IDEAL)
    share = table.on_crossbars(ideal, inputs)
    assert share == pytest.approx(counted(ideal), abs=1e-3)
    assert share >= 0.99
    digital = table.answer(entry, model, inputs)
    found = table.answer(entry, ideal, inputs)
    assert float(digital.abs().max()) > 1e-3  # there is something to compare
    error = float((found - digital).abs().max() / digital.abs().max())
    assert error < 1e-5
    assert error < 20 * table.of_float32(entry, model, inputs)  # nothing but rounding


@pytest.mark.parametrize("entry", ENTRIES)
def test_eight_bits_and_noise_stay_finite_and_near_and_a_step_learns(entry):
    inputs = entry.inputs(4, True)
    noisy = table.put_on(entry, table.NOISY, True)
    ideal = table.put_on(entry, table.IDEAL, True)
    expected, found = (table.answer(entry, model, inputs) for model in (ideal, noisy))
    assert bool(found.isfinite().all())
    assert not torch.equal(found, expected)
    assert torch.corrcoef(torch.stack((found.flatten(), expected.flatten())))[0, 1] > 0.5
    assert table.fine_tune(entry, noisy, inputs)
    assert all(bool(p.isfinite().all()) for p in noisy.parameters())


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="needs transformers")
def test_another_process_reads_the_same_bits(tmp_path):
    for entry in zoo.MODELS:
        analog = table.put_on(entry, table.NOISY, True)
        folder = tmp_path / entry.name
        folder.mkdir()
        inputs = entry.inputs(2, True)
        table.save(entry, analog, inputs, folder)
    code = (
        f"import sys; sys.path.insert(0, {str(FOLDER)!r}); import table, zoo\n"
        f"print([e.name for e in zoo.MODELS if not "
        f"table.in_another_process(e.name, True, {str(tmp_path)!r} + '/' + e.name)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
