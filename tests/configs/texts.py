"""Small configurations in the forms that the other tools print or read."""

AIHWKIT = """
InferenceRPUConfig(
    runtime=RuntimeParameter(),
    pre_post=PrePostProcessingParameter(input_range=InputRangeParameter(enable=True, decay=0.01)),
    mapping=MappingParameter(weight_scaling_omega=1.0, max_input_size=256),
    forward=IOParameters(
        inp_res=0.003937007874015748,
        out_bound=10.0,
        out_noise=0.04,
        out_res=254.0,
        bound_management=BoundManagementType.NONE,
        noise_management=NoiseManagementType.NONE
    ),
    backward=IOParameters(is_perfect=True),
    update=UpdateParameters(pulse_type=PulseType.NONE),
    noise_model=PCMLikeNoiseModel(g_converter=SinglePairConductanceConverter(g_max=25.00, g_min=0.00), g_max=25.0, prog_coeff_g_max_reference=25.0, prog_coeff=[0.26348, 1.965, -1.1731], t_0=20.0, t_read=2.5e-07, prog_noise_scale=1.0, read_noise_scale=1.0, drift_scale=1.0),
    drift_compensation=GlobalDriftCompensation(),
    clip=WeightClipParameter(sigma=3.0, type=WeightClipType.LAYER_GAUSSIAN),
    remap=WeightRemapParameter(type=WeightRemapType.NONE),
    modifier=WeightModifierParameter(std_dev=0.06, pdrop=0.01, type=WeightModifierType.ADD_NORMAL),
    device=IdealDevice()
)
"""  # noqa: E501

LIGHTNING = """
TorchInferenceRPUConfig(forward=IOParameters(inp_res=254, out_noise=0.04, out_noise_per_channel=True, out_bound=12.0, out_res=254), clip=WeightClipParameter(sigma=2.5, type=<WeightClipType.LAYER_GAUSSIAN_PER_CHANNEL: 'LayerGaussianPerChannel'>), modifier=WeightModifierParameter(std_dev=0.03, res=0.0, enable_during_test=False, type=<WeightModifierType.NONE: 'None'>, noise_type=<WeightNoiseInjectionType.ADD_NORMAL_PER_CHANNEL: 'AddNormalPerChannel'>, quantization_type=<WeightQuantizationType.NONE: 'None'>), mapping=MappingParameter(max_input_size=-1), pre_post=PrePostProcessingParameter(input_range=InputRangeParameter(fast_mode=False, act_range_momentum=0.95, enable=True, dynamic=False, learn_input_range=True, init_value=3.0, init_from_data=500, init_std_alpha=18.0, decay=0.01, input_min_percentage=0.95)))
"""  # noqa: E501

PARAM = """
Param::Param() {
    /* numColSubArray = 7; */
    operationmode = 2;      // 1: rows one by one
    memcelltype = 2;
    accesstype = 1;
    const int tech = 5;
    switch (tech) {
        case 4: technode = 32; break;
        case 5: technode = 22; break;
    }
    switch (technode) {
        case 32: wireWidth = 56; barrierthickness = 4.0e-9; featuresize = wireWidth*1e-9; break;
        case 22: wireWidth = 40; barrierthickness = 2.5e-9; featuresize = wireWidth*1e-9; break;
        default: exit(-1); puts("numRowSubArray = 9;");
    }
    numRowSubArray = 64;
    numColSubArray = 96;
    if (parallelRead) {
        numRowParallel = numRowSubArray;
    } else {
        numRowParallel = 1;
    }
    numColMuxed = 8;
    levelOutput = 32;
    cellBit = 2;
    heightInFeatureSize1T1R = 4;
    widthInFeatureSize1T1R = 12;
    resistanceOn = 100e3;
    resistanceOff = 100e3*17;
    maxConductance = (double) 1/resistanceOn;
    readVoltage = 0.5;
    readPulseWidth = 10e-9;
    resistanceAccess = resistanceOn*IR_DROP_TOLERANCE;
}
"""


def crosssim(**changes):
    """Parameters of a balanced core with 8-bit converters; changes by name with dots."""
    inputs = {"clipping": False, "min": -2.0, "max": 2.0, "percentile": None}
    adc = {
        "model": "SignMagnitudeADC",
        "bits": 8,
        "signed": True,
        "stochastic_rounding": False,
        "adc_per_ibit": False,
        "calibrated_range": [-6.0, 6.0],
        "adc_range_option": 1,
    }
    dac = {
        "model": "SignMagnitudeDAC",
        "bits": 8,
        "input_bitslicing": False,
        "signed": True,
        "slice_size": 1,
    }
    found = {
        "core": {
            "style": 1,
            "rows_max": 64,
            "cols_max": 64,
            "weight_bits": 0,
            "balanced": {
                "style": 1,
                "interleaved_posneg": False,
                "subtract_current_in_xbar": True,
            },
            "bit_sliced": {"style": 1, "num_slices": 2},
            "offset": {"style": 1},
            "mapping": {
                "weights": {"clipping": True, "min": None, "max": None, "percentile": 1.0},
                "inputs": {"_match": True, "mvm": dict(inputs), "vmm": dict(inputs)},
            },
        },
        "simulation": {"useGPU": False, "Niters_max_parasitics": 100},
        "xbar": {
            "device": {
                "cell_bits": 0,
                "Rmin": 10000.0,
                "Rmax": 100000.0,
                "time": 0,
                "infinite_on_off_ratio": False,
                "clip_conductance": False,
                "read_noise": {"enable": False, "model": "IdealDevice", "magnitude": 0},
                "programming_error": {"enable": False, "model": "IdealDevice", "magnitude": 0},
                "drift_error": {"enable": False, "model": "IdealDevice", "magnitude": 0},
            },
            "array": {
                "Icol_max": 0,
                "parasitics": {"enable": False, "Rp_row": 0, "Rp_col": 0, "gate_input": False},
            },
            "adc": {"_match": True, "mvm": dict(adc), "vmm": dict(adc)},
            "dac": {"_match": True, "mvm": dict(dac), "vmm": dict(dac)},
        },
    }
    for name, value in changes.items():
        *groups, last = name.split("__")
        inner = found
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[last] = value
    return found
