"""NeuroSim's parameters: defaults of its flags, and what accuracy does not depend on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEFAULTS: dict[str, Any] = {"wl_weight": 8, "wl_activate": 8}
"""Flags of its Python wrapper where they are not given."""

SOFTWARE = (
    "dataset", "model", "mode", "type", "batch_size", "batchSize", "epochs", "grad_scale", "seed",
    "log_interval", "test_interval", "logdir", "lr", "decreasing_lr", "wl_grad", "wl_error",
    "inference", "numIteration", "cuda", "ngpu", "gpu", "debug", "momentum",
)  # fmt: skip
COST = (
    "accesstype", "transistortype", "deviceroadmap", "globalBusType", "globalBufferType",
    "globalBufferCoreSizeRow", "globalBufferCoreSizeCol", "tileBufferType", "tileBufferCoreSizeRow",
    "tileBufferCoreSizeCol", "peBufferType", "chipActivation", "reLu", "novelMapping", "SARADC",
    "currentMode", "pipeline", "speedUpDegree", "validated", "synchronous", "clkFreq", "temp",
    "Activationtype", "speciallayout", "sizingfactor_MUX", "sizingfactor_WLdecoder",
    "newswitchmatrixsizeratio", "switchmatrixsizeratio", "buffernumber", "buffersizeratio", "tech",
    "technode", "featuresize", "Metal0", "Metal1", "barrierthickness", "globalBusDelayTolerance",
    "localBusDelayTolerance", "treeFoldedRatio", "maxGlobalBusWidth", "inputtoggle", "outputtoggle",
    "relaxArrayCellHeight", "relaxArrayCellWidth", "numColMuxed", "dumcolshared", "minSenseVoltage",
    "heightInFeatureSizeSRAM", "widthInFeatureSizeSRAM", "widthSRAMCellNMOS", "widthSRAMCellPMOS",
    "widthAccessCMOS", "heightInFeatureSize1T1R", "widthInFeatureSize1T1R",
    "heightInFeatureSizeCrossbar", "widthInFeatureSizeCrossbar", "gateCapFeFET", "maxNumLevelLTP",
    "maxNumLevelLTD", "writeVoltage", "writePulseWidth", "nonlinearIV", "nonlinearity",
    "readPulseWidth", "accessVoltage", "resistanceAccess", "trainingEstimation", "parallelBP",
    "bufferOverHeadConstraint", "numRowSubArrayWG", "numColSubArrayWG", "numRowMuxedAG",
    "levelOutputAG", "numRowMuxedWG", "levelOutputWG", "dramType", "conventionalParallel",
    "conventionalSequential", "BNNparallelMode", "BNNsequentialMode", "XNORsequentialMode",
    "XNORparallelMode", "parallelRead", "numRowParallel", "alpha", "beta", "gamma", "delta",
    "epsilon", "zeta", "Rho", "AR", "AR_Metal0", "AR_Metal1", "Rho_Metal0", "Rho_Metal1",
    "Metal0_unitwireresis", "Metal1_unitwireresis", "wireLengthRow", "wireLengthCol",
    "unitLengthWireResistance", "wireResistanceRow", "wireResistanceCol", "globalBufferNumRow",
    "numColPerSynapse", "numRowPerSynapse", "synapseBit", "numBitInput",
)  # fmt: skip
KNOWN = frozenset(
    (*COST, "numRowSubArray", "numColSubArray", "operationmode", "memcelltype", "levelOutput",
     "cellBit", "resistanceOn", "resistanceOff", "maxConductance", "minConductance", "readVoltage",
     "wireWidth", "algoWeightMax", "algoWeightMin", "wl_weight", "wl_activate", "subArray",
     "ADCprecision", "onoffratio", "vari", "t", "v", "detect", "target", "nonlinearityLTP",
     "nonlinearityLTD", "max_level", "d2dVari", "c2cVari")
)  # fmt: skip
"""Names that make a text one of NeuroSim's."""

_METALS = (  # least width (nm), aspect ratio, resistivity (Ω m): copper lines, ITRS-like, V1.4
    (175, 1.6, 2.01e-8), (110, 1.6, 2.20e-8), (105, 1.7, 2.21e-8), (80, 1.7, 2.37e-8),
    (56, 1.8, 2.63e-8), (40, 1.9, 2.97e-8), (32, 2.0, 3.25e-8), (22, 2.0, 3.95e-8),
    (20, 2.0, 4.17e-8), (15, 2.0, 4.98e-8), (12, 2.0, 5.80e-8), (10, 2.0, 6.61e-8),
    (8, 3.0, 7.87e-8),
)  # fmt: skip
_OLD = {  # widths of versions before 1.4, V2.x among them
    200: (2.10, 2.42e-8), 100: (2.30, 2.73e-8), 50: (2.34, 3.91e-8), 40: (1.90, 4.03e-8),
    32: (1.90, 4.51e-8), 22: (2.00, 5.41e-8), 14: (2.10, 7.43e-8),
}  # fmt: skip


def cell(settings: Mapping[str, Any]) -> tuple[list[str], float, float] | None:
    """Return the names, the height and the width of a cell in feature sizes; None if not given."""
    kind = "Crossbar" if settings.get("accesstype", 1) == 4 else "1T1R"
    if settings.get("memcelltype", 2) == 1:
        kind = "SRAM"
    names = [f"{side}InFeatureSize{kind}" for side in ("height", "width")]
    height, width = (settings.get(name) for name in names)
    if not isinstance(height, (int, float)) or not isinstance(width, (int, float)):
        return None
    return names, float(height), float(width)


def segments(settings: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the resistances (Ω) of a word line and of a bit line from cell to cell, or None.

    A segment is as long as a cell: word lines run along its width, bit lines along its height. The
    barrier of V1.4 is left out: there metres are divided by nanometres, and it changes nothing.
    """
    width, size = settings.get("wireWidth"), cell(settings)
    if not isinstance(width, (int, float)) or width <= 0 or size is None:
        return None
    if "barrierthickness" in settings:
        metal = next(((a, r) for least, a, r in _METALS if width >= least), None)
    else:
        metal = _OLD.get(int(width))
    if metal is None:
        return None
    aspect, resistivity = metal
    per_metre = resistivity / ((width * 1e-9) ** 2 * aspect)
    _, height, across = size
    return per_metre * width * 1e-9 * across, per_metre * width * 1e-9 * height
