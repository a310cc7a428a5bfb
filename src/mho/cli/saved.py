"""A model that ``mho report`` is given: read without running code that a file may hold.

Weights are data, and are read as such (``weights_only``). A whole module that ``torch.save`` wrote
is a pickle, and pickles are programs; torch's reader of exported programs falls back on pickles,
too, and evaluates expressions in them. Both are read only where the user says that he trusts them.
"""

from __future__ import annotations

import logging
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from mho.cli import given
from mho.cli.exported import layered
from mho.core.extras import need

# Under what name tools keep the weights in a checkpoint that holds more.
_WEIGHTS = ("state_dict", "model_state_dict", "model")


class Saved(NamedTuple):
    """A model, and what came with it.

    Attributes:
        name: for people.
        model: digital, in ``eval()`` mode.
        inputs: of one call, where they are known: those a program was exported with.
        task: data to test it on, where a function gave them, too.
    """

    name: str
    model: nn.Module
    inputs: Tensor | None = None
    task: given.Task | None = None


def model(text: str, *, network: str | None = None, trust: bool = False) -> Saved:
    """Return the model of a file or of a function.

    Args:
        text: ``module:function`` that returns a model, or all of a task (see `mho.cli.given.task`);
            the path of a ``state_dict`` (``torch.save`` or safetensors); with ``trust``, that of an
            exported program (``.pt2``) or of a module that ``torch.save`` wrote.
        network: ``module:function`` that returns the model which a file of weights is of.
        trust: whether the file may run code.

    Raises:
        FileNotFoundError, ImportError: if there is no such file or function.
        TypeError, ValueError: if it holds something else, or only trust would read it.
    """
    path = Path(text)
    if not path.exists() and ":" in text:
        if network is not None:
            raise ValueError(f"{text} makes a model itself: leave out --network")
        return _made(text)
    if path.is_dir():
        raise IsADirectoryError(f"{text} is a folder, not the file of a model")
    if not path.exists():
        raise FileNotFoundError(f"no file {text}; a function is given as module:function")
    if not path.is_file():  # a device or a pipe, which may have no end
        raise ValueError(f"{text} is no file of a model")
    if path.suffix == ".pt2":
        return _exported(path, network, trust)
    found = _unpickled(path, trust)
    if isinstance(found, nn.Module):
        if network is not None:
            raise ValueError(f"{text} holds a whole module: leave out --network")
        return Saved(path.stem, found.eval())
    return Saved(path.stem, _loaded(text, _weights(text, found), network))


def _made(text: str) -> Saved:
    made = given.called(text)
    if isinstance(made, nn.Module):
        return Saved(text, made.eval())
    task = given.as_task(text, made)
    return Saved(text, task.model, task=task)


def _exported(path: Path, network: str | None, trust: bool) -> Saved:
    if network is not None:
        raise ValueError(f"{path} is a whole program: leave out --network")
    if not trust:
        raise ValueError(
            f"torch may run code that {path} holds when it reads the program: if you trust it, say "
            "--trust; without, give weights (torch.save(model.state_dict(), …)) and --network"
        )
    program = _program(path)
    examples: Any = program.example_inputs or ((), {})
    inputs, options = examples
    alone = len(inputs) == 1 and not options and isinstance(inputs[0], Tensor)
    return Saved(path.stem, layered(program), inputs[0] if alone else None)


def _program(path: Path) -> Any:
    log = logging.getLogger("torch.export")
    before, log.disabled = log.disabled, True  # it prints a traceback; the error says the same
    try:
        return torch.export.load(path)
    except Exception as error:  # of a damaged file, in as many ways as there are
        raise ValueError(f"{path} is no exported program: {_first(error)}") from error
    finally:
        log.disabled = before


def _unpickled(path: Path, trust: bool) -> Any:
    if path.suffix == ".safetensors":
        return _tensors(path)
    if _is_script(path):
        raise ValueError(
            f"{path} is a TorchScript program, whose layers are no modules: give weights "
            "(torch.save(model.state_dict(), …)) and --network"
        )
    if not _is_pickle(path):
        raise ValueError(f"{path} is no file of torch.save")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of how it was pickled
            return torch.load(path, map_location="cpu", weights_only=not trust)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # of a damaged file, in as many ways as there are
        if trust and isinstance(error, (AttributeError, ImportError)):
            raise ValueError(
                f"{path} holds a module of a class that is not found here: {_first(error)}; give "
                "weights (torch.save(model.state_dict(), …)) and --network"
            ) from error
        if trust or not isinstance(error, pickle.UnpicklingError):
            raise ValueError(f"{path} is no file of torch.save: {_first(error)}") from error
        raise ValueError(
            f"{path} holds more than weights, and reading it may run code: if you trust it, say "
            "--trust; without, give weights (torch.save(model.state_dict(), …)) and --network"
        ) from error


def _tensors(path: Path) -> dict[str, Tensor]:
    reader = need("safetensors.torch", "hf")
    try:
        found: dict[str, Tensor] = reader.load_file(path)
    except OSError:
        raise
    except Exception as error:  # its own kind of error
        raise ValueError(f"{path} is no file of safetensors: {_first(error)}") from error
    return found


def _is_pickle(path: Path) -> bool:
    # What torch.save writes: a zip archive; a bare pickle, once.
    with path.open("rb") as file:
        return file.read(1) == b"\x80" or zipfile.is_zipfile(path)


def _is_script(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as file:
            return any("/code/" in name for name in file.namelist())
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is no file of torch.save: {_first(error)}") from error


def _first(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _weights(text: str, found: Any) -> dict[str, Any]:
    for name in _WEIGHTS:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping) or not any(isinstance(v, Tensor) for v in found.values()):
        raise TypeError(f"{text} must hold a model or its weights, got {type(found).__name__}")
    if strange := [name for name in found if not isinstance(name, str)]:
        raise TypeError(f"{text} must hold weights by their names, got {strange[0]!r} for a name")
    return dict(found)


def _loaded(text: str, weights: dict[str, Any], network: str | None) -> nn.Module:
    if network is None:
        raise ValueError(
            f"{text} holds weights alone: say with --network module:function what makes the model "
            "that they are of"
        )
    made = given.called(network)
    if not isinstance(made, nn.Module):
        raise TypeError(f"{network} must return a torch.nn.Module, got {type(made).__name__}")
    consume_prefix_in_state_dict_if_present(weights, "module.")  # of DistributedDataParallel
    for name, held in made.state_dict().items():
        given_one = weights.get(name)
        if isinstance(given_one, Tensor) and given_one.is_complex() and not held.is_complex():
            raise ValueError(f"the weights of {text} are not those of {network}: {name} is complex")
    try:
        made.load_state_dict(weights)
    except RuntimeError as error:
        said = "; ".join(line.strip() for line in str(error).splitlines()[1:])
        raise ValueError(f"the weights of {text} are not those of {network}: {said}") from error
    return made.eval()
