"""NeuroSim's parameters: `from_neurosim`.

NeuroSim is two programs: circuits in C++, whose ``Param.cpp`` says what latency, energy and area
are of, and a network in PyTorch, whose flags say what its accuracy is of. Read both.

Source: X. Peng, S. Huang, Y. Luo, X. Sun, S. Yu, "DNN+NeuroSim: an end-to-end benchmarking
framework for compute-in-memory accelerators with versatile device technologies", IEDM 2019, doi
10.1109/IEDM19573.2019.8993491; for training X. Peng et al., "DNN+NeuroSim V2.0", IEEE TCAD 2021,
doi 10.1109/TCAD.2020.3043731.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mho.analysis.technology import Technology
from mho.cells.device import Device
from mho.circuit import Wires
from mho.compat.configs import neurosim_tables as tables
from mho.compat.configs.crosssim_cells import states_beside_offset
from mho.compat.configs.neurosim_text import assignments, flags
from mho.compat.configs.translation import Account, Translation
from mho.core import checks, files
from mho.devices.exponential import ExponentialDevice
from mho.devices.linear import LinearDevice
from mho.effects.base import Effect
from mho.effects.programming import FiniteStates, WriteNoise
from mho.encoding.base import Encoding
from mho.encoding.bit_sliced import BitSliced
from mho.encoding.single_column import SingleColumn
from mho.hardware import Array, Hardware
from mho.periphery.adc import ADC
from mho.periphery.dac import DAC

TOOL = "neurosim"
_TRAINING = ("nonlinearityLTP", "nonlinearityLTD", "max_level", "d2dVari", "c2cVari")
_COST = "of latency, energy and area alone"


def from_neurosim(parameters: Any, options: Any = None, *, lines: bool = False) -> Translation:
    """Translate NeuroSim's parameters, of DNN+NeuroSim V1.x and V2.x.

    Args:
        parameters: ``Param.cpp``: its path, its text (or some of its lines, ``name = value;``), or
            a mapping of names and values.
        options: flags of ``inference.py`` or ``train.py``, of which accuracy is: a mapping, or a
            text: the command line (``--wl_weight 8 --vari 0.1``), lines of its log (``vari: 0.1``)
            or of the script (``args.cellBit = 5``). Flags not given stand at the defaults there.
        lines: whether the resistance of its lines acts on the currents; its network knows none.

    Returns:
        The hardware, the technology of the circuits, and the account of all settings.

    Raises:
        TypeError: if something is of another kind.
        ValueError: if nothing in it is a parameter of NeuroSim.
    """
    given = {**_values(parameters, assignments), **_values(options, flags)}
    if not given.keys() & tables.KNOWN:
        raise ValueError(
            "found no parameter of NeuroSim (numRowSubArray, cellBit, resistanceOn, levelOutput, …)"
        )
    account = Account(TOOL, {**tables.DEFAULTS, **given})
    return _translated(account, lines=checks.truth("lines", lines))


def _values(given: Any, read: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {str(name): value for name, value in given.items()}
    if isinstance(given, Path) or (isinstance(given, str) and _is_file(given)):
        given = files.text(given, errors="replace")
    if not isinstance(given, str):
        raise TypeError(f"expected a path, a text or a mapping, got {type(given).__name__}")
    found: dict[str, Any] = read(given)
    if not found.keys() & tables.KNOWN:  # the flags were given in the first place, say
        found = {**flags(given), **assignments(given), **found}
    if given.strip() and not found:
        raise ValueError(f"found no parameter of NeuroSim in {given.strip()[:40]!r}")
    return found


def _is_file(text: str) -> bool:
    if "=" in text or "\n" in text:
        return False
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # a command line that is longer than a name may be
        return False


def _translated(account: Account, *, lines: bool) -> Translation:
    window = _window(account)
    device = _device(account, *window)
    encoding, states = _encoding(account, device)
    effects = (*states, *_variation(account))
    technology = _technology(account)
    hardware = Hardware(
        device=device,
        encoding=encoding,
        array=_array(account, lines=lines),
        dac=_dac(account),
        adc=_adc(account),
        effects=effects,
    )
    _retention(account)
    account.idle(tables.SOFTWARE, "says how the network is trained or run")
    account.idle(tables.COST, _COST)
    worked_out = [n for n, v in account.settings.items() if isinstance(v, str) and v[:1] == "("]
    account.idle(worked_out, "worked out by NeuroSim from the others")
    return account.close(hardware, technology=technology)


def _window(account: Account) -> tuple[float, float]:
    on = account.number("resistanceOn", 100e3)
    checks.number(f"{TOOL}: resistanceOn", on, above=0.0)
    account.match("resistanceOn", f"g_max={1 / on:.4g}")
    if not math.isclose(account.number("maxConductance", 1 / on), 1 / on, rel_tol=1e-6):
        account.idle("maxConductance", f"resistanceOn says it; {_COST}")
    account.match("maxConductance", f"g_max={1 / on:.4g}")
    if "onoffratio" in account:
        off = on * account.number("onoffratio")
        account.match("onoffratio", f"g_min={1 / off:.4g}")
        same = math.isclose(off, account.number("resistanceOff", off), rel_tol=1e-6)
        if not same:
            account.idle(["resistanceOff", "minConductance"], f"onoffratio says it; {_COST}")
    else:
        off = account.number("resistanceOff", 10 * on)
    checks.number(f"{TOOL}: resistanceOff (or onoffratio · resistanceOn)", off, above=on)
    account.match("resistanceOff", f"g_min={1 / off:.4g}")
    account.match("minConductance", f"g_min={1 / off:.4g}")
    kind = account.whole("memcelltype", 2)
    checks.one_of(f"{TOOL}: memcelltype", kind, (1, 2, 3))
    note = "SRAM there: cells of two states here" if kind == 1 else ""
    account.match("memcelltype", "LinearDevice(…), or ExponentialDevice(…) where it trains", note)
    return 1.0 / off, 1.0 / on


def _device(account: Account, g_min: float, g_max: float) -> Device:
    if not any(name in account for name in _TRAINING):
        return LinearDevice(g_min=g_min, g_max=g_max)
    up, down = account.number("nonlinearityLTP", 0.01), account.number("nonlinearityLTD", -0.01)
    levels = account.whole("max_level", 100)
    d2d, c2c = account.number("d2dVari"), account.number("c2cVari")
    account.match("nonlinearityLTP", f"ExponentialDevice(nonlinearity_set={up:g})")
    account.match("nonlinearityLTD", f"ExponentialDevice(nonlinearity_reset={down:g})")
    account.match("max_level", f"ExponentialDevice(levels={levels})")
    both = "" if d2d == 0 else "each label by itself; there both by the same amount"
    account.match("d2dVari", f"ExponentialDevice(d2d={d2d:g})", both)
    each = "" if c2c == 0 else "at every pulse; there once an update"
    account.match("c2cVari", f"ExponentialDevice(c2c={c2c:g})", each)
    return ExponentialDevice(
        g_min=g_min, g_max=g_max, nonlinearity_set=up, nonlinearity_reset=down, levels=levels,
        d2d=d2d, c2c=c2c,
    )  # fmt: skip


def _encoding(account: Account, device: Device) -> tuple[Encoding, tuple[Effect, ...]]:
    bits, each = account.whole("wl_weight", 8), account.whole("cellBit", 1)
    if account.whole("memcelltype", 2) == 1:
        each = 1
    fixed = "the largest weight fills the window; there 1 does"
    account.match(["algoWeightMax", "algoWeightMin"], "Scaling()", fixed)
    if bits <= each:
        count = states_beside_offset(each)
        note = f"{2**each} states there, and an offset between two of them"
        account.match(["wl_weight", "cellBit"], f"SingleColumn(), FiniteStates({count})", note)
        states = (FiniteStates(count),) if isinstance(device, LinearDevice) else ()
        return SingleColumn(), states
    if bits < 2:
        raise ValueError(f"wl_weight must be >= 2 for weights over several cells, got {bits!r}")
    note = "digits on pairs, signs apart; there unsigned digits against a dummy column"
    account.match(["wl_weight", "cellBit"], f"BitSliced(bits={bits}, bits_per_cell={each})", note)
    return BitSliced(bits=bits, bits_per_cell=each), ()


def _variation(account: Account) -> tuple[Effect, ...]:
    sigma = account.number("vari")
    if not sigma:
        account.idle("vari", "at a value of no effect")
        return ()
    note = "drawn when cells are programmed; there anew for every batch"
    account.match("vari", f"WriteNoise({sigma:g}, relative_to='value')", note)
    return (WriteNoise(sigma, relative_to="value"),)


def _array(account: Account, *, lines: bool) -> Array:
    tile = account.whole("numRowSubArray", account.whole("subArray", 128))
    parallel = account.whole("numRowParallel", tile) if isinstance(
        account.value("numRowParallel", tile), int
    ) else tile  # fmt: skip
    if "subArray" in account:
        if account.whole("subArray") != tile:
            account.idle("numRowSubArray", f"subArray says it; {_COST}")
        tile = account.whole("subArray")
    read = account.value("parallelRead", parallel)
    if isinstance(read, int) and not isinstance(read, bool) and read > 1:
        parallel = read
    rows = min(tile, parallel)
    note = "" if rows == tile else f"rows read at once; a sub-array there has {tile}"
    account.match(["numRowSubArray", "subArray"], f"Array(rows={rows})", note)
    account.match(["numRowParallel", "parallelRead"], f"Array(rows={rows})", note)
    cols = account.whole("numColSubArray", tile)
    account.match("numColSubArray", f"Array(cols={cols})")
    mode = account.whole("operationmode", 2)
    if mode == 2:
        account.match("operationmode", "all rows of a tile are read at once")
    why = "rows are read one by one there; rows here all at once" if mode == 1 else (
        "binary networks: see mho.encoding.Binary"
    )  # fmt: skip
    account.miss("operationmode", why)
    return Array(rows=rows, cols=cols, wires=_wires(account, lines=lines))


def _wires(account: Account, *, lines: bool) -> Wires:
    names = ["wireWidth", "Rho", "AR", "wireResistanceRow", "wireResistanceCol"]
    ohms = tables.segments(account.settings)
    if not lines:
        hint = (
            ""
            if ohms is None
            else f"; lines=True takes Wires(word={ohms[0]:.3g}, bit={ohms[1]:.3g})"
        )
        account.idle(names, f"its network knows no wires{hint}")
        return Wires()
    if ohms is None:
        raise ValueError(
            "lines=True needs wireWidth and the size of a cell (heightInFeatureSize1T1R, "
            "widthInFeatureSize1T1R, or of Crossbar) among the parameters"
        )
    ours = f"Wires(word={ohms[0]:.3g}, bit={ohms[1]:.3g})"
    account.match(["wireWidth"], ours, "its network knows no wires")
    account.idle(names, "worked out from wireWidth")
    return Wires(word=ohms[0], bit=ohms[1])


def _dac(account: Account) -> DAC:
    bits, volts = account.whole("wl_activate", 8), account.number("readVoltage", 0.5)
    note = "calibrated to the largest input; there inputs are in 0…1"
    account.match("wl_activate", f"DAC(bits={bits}, mode='bit_serial', signed=False)", note)
    account.match("readVoltage", f"DAC(v_max={volts:g})")
    return DAC(bits=bits, v_max=volts, mode="bit_serial", signed=False, percentile=100.0)


def _adc(account: Account) -> ADC:
    levels = account.whole("levelOutput", 2 ** account.whole("ADCprecision", 5))
    checks.integer(f"{TOOL}: levelOutput", levels, least=2)
    bits = account.whole("ADCprecision", max(round(math.log2(levels)), 1))
    note = "rounds to the nearest of its codes; there downwards"
    account.match("ADCprecision", f"ADC(bits={bits}, method='minmax', range='per_call')", note)
    if 2**bits != levels:
        if "ADCprecision" in account:
            account.idle("levelOutput", f"ADCprecision says it; {_COST}")
        note = f"{levels} levels there, {2**bits} here; {note}"
    account.match("levelOutput", f"ADC(bits={bits}, method='minmax', range='per_call')", note)
    return ADC(bits=bits, method="minmax", range="per_call")


def _retention(account: Account) -> None:
    names = ["t", "v", "detect", "target"]
    if not account.number("t") or not account.number("v"):
        account.idle(names, "t and v act together alone")
        return
    sigma = account.number("v") * math.sqrt(2.0 / 3.0)
    why = (
        "cells drift up, down or not at all with |ν| = v there; nearest are "
        f"PowerLawDrift(nu=0, nu_spread={sigma:.3g}) and mho.age(model, t)"
    )
    if account.whole("detect") == 1:
        why = "cells drift towards one conductance there; see mho.effects.Retention"
    account.miss(names, why)


def _technology(account: Account) -> Technology | None:
    said: dict[str, Any] = {}
    if "readPulseWidth" in account:
        said["read_time"] = account.number("readPulseWidth")
        account.match("readPulseWidth", f"Technology(read_time={said['read_time']:g})")
    if isinstance(account.value("numColMuxed"), int):
        said["columns_per_adc"] = account.whole("numColMuxed")
        account.match("numColMuxed", f"Technology(columns_per_adc={said['columns_per_adc']})")
    feature = account.value("featuresize")
    if isinstance(feature, float):
        said["feature_size"] = feature
        account.match("featuresize", f"Technology(feature_size={feature:g})")
    cell = tables.cell(account.settings)
    if cell is not None:
        names, height, width = cell
        said["cell_factor"] = height * width
        account.match(names, f"Technology(cell_factor={height * width:g})")
        account.match("accesstype", f"Technology(cell_factor={height * width:g})")
    return Technology(**said) if said else None
