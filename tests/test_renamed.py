"""Names of the version before still work, say what they are called now, and still load."""

import importlib
import pickle

import pytest
import torch
from torch import nn

import mho
from mho import train
from mho.core import files
from mho.core.spec import Spec
from mho.crossbar import Crossbar

OLD = r"Practice is now called .*NoiseInjection; the old name goes in the next version"


def test_the_class():
    with pytest.warns(DeprecationWarning, match=OLD) as found:
        kind = train.Practice
    assert kind is train.NoiseInjection
    assert found[0].filename == __file__
    with pytest.warns(DeprecationWarning, match=OLD):
        from mho.crossbar.training import Practice
    assert Practice is train.NoiseInjection
    assert "Practice" not in train.__all__
    with pytest.raises(AttributeError, match="no attribute 'Practise'"):
        train.Practise  # noqa: B018


@pytest.mark.parametrize(
    ("room", "old", "new"),
    [
        ("mho.chip", "outside", "outside_window"),
        ("mho.plot", "transforms", "probability_transforms"),
    ],
)
def test_old_names_of_functions_still_work(room, old, new):
    module = importlib.import_module(room)
    with pytest.warns(DeprecationWarning, match=f"{room}.{old} is now called {room}.{new}"):
        found = getattr(module, old)
    assert found is getattr(module, new)
    assert old not in module.__all__
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = module.nothing


def test_a_recipes_argument_and_attribute():
    noise = train.NoiseInjection(noise=1.3)
    with pytest.warns(DeprecationWarning, match=r"Recipe\(practice=…\) is now called injection=…"):
        recipe = train.Recipe(practice=noise, clip=2.5)
    assert recipe == train.Recipe(noise, clip=2.5) == train.Recipe(injection=noise, clip=2.5)
    with pytest.warns(DeprecationWarning, match=r"Recipe\.practice is now called injection"):
        assert recipe.practice == noise
    with pytest.raises(TypeError, match="practice is the old name of injection"):
        train.Recipe(noise, practice=noise, injection=noise)
    assert recipe.replace(clip=3.0).injection == noise


def test_saved_recipes(tmp_path):
    recipe = train.Recipe(train.NoiseInjection(noise=1.3), clip=2.5)
    plain = recipe.to_dict()
    assert "practice" not in plain
    plain["practice"] = {**plain.pop("injection"), "type": "Practice"}
    assert train.Recipe.from_dict(plain) == Spec.from_dict(plain) == recipe
    text = f"{plain}".replace("'", '"').replace("None", "null").replace("True", "true")
    path = tmp_path / "recipe.json"
    path.write_text(text.replace("False", "false"))
    assert files.load(path, train.Recipe) == recipe


def test_pickles():
    recipe = train.Recipe(train.NoiseInjection(noise=1.3))
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    old = train.Recipe.__new__(train.Recipe)
    state = dict(vars(recipe))
    state["practice"] = state.pop("injection")
    old.__setstate__(state)
    assert old == recipe
    # The class itself, as a pickle of that version names it.
    names = pickle.dumps(recipe.injection, 0).replace(b"NoiseInjection", b"Practice")
    with pytest.warns(DeprecationWarning, match=OLD):
        assert pickle.loads(names) == recipe.injection


def test_crossbars():
    torch.manual_seed(0)
    crossbar = mho.convert(nn.Linear(4, 3), mho.Hardware()).crossbar
    noise = train.NoiseInjection(noise=2.0)
    with pytest.warns(DeprecationWarning, match="practise is now called inject_noise"):
        crossbar.practise(noise)
    with pytest.warns(DeprecationWarning, match="practice is now called injection"):
        assert crossbar.practice == crossbar.injection == noise
    state = dict(vars(crossbar))
    state["_practice"] = state.pop("_injection")
    old = Crossbar.__new__(Crossbar)
    old.__setstate__(state)
    assert old.injection == noise
    assert callable(crossbar.inhabit)


def test_both_names_at_once_are_refused():
    noise = train.NoiseInjection(noise=2.0).to_dict()
    with pytest.raises(ValueError, match="'practice' is the old name of 'injection', and both"):
        train.Recipe.from_dict({"practice": {}, "injection": noise})
