"""How inputs reach a crossbar: as amplitudes or bit by bit, and what converters cost.

A network trained in software is deployed on ``SimpleFixedPoint`` with 8-bit cells. With
``"instant"`` a driver applies one of its voltages; with ``"linear"`` it applies the bits of the
input one after the other at one voltage, so that its linearity does not matter, but a product
takes as many reads as bits. These bits are of the magnitude, while one of the amplitude's is its
sign. Widths of DAC and ADC, and the noise of reading, are varied for both.

An unmodified program for XBTorch; it runs on mho by

    python -m mho.compat examples/xbtorch/input_encodings.py [--quick]
"""

import sys

import torch
import xbtorch
from digits_data import Net, load, train
from xbtorch.deployment import SimpleFixedPoint
from xbtorch.nn.utils import test_classifier
from xbtorch.patches import xbtorch_model

QUICK = "--quick" in sys.argv
EPOCHS = 15
WIDTHS = (2, 4, 8) if QUICK else (1, 2, 3, 4, 6, 8)


def deploy(weights, scheme, dac_bits, adc_bits, read_noise=0.0):
    """Return the network on a fault-free chip, computing there."""
    torch.manual_seed(1)
    accelerator = SimpleFixedPoint(
        dac_bits=dac_bits,
        adc_bits=adc_bits,
        g_min=50,
        g_max=100,
        read_noise=read_noise,
        xb_size=(256, 256),
        input_encoding_scheme=scheme,
        weight_encoding_args={"bits": 8},
    )
    xbtorch.initialize(inference_accelerator=accelerator)
    model = xbtorch_model(Net())
    model.load_state_dict(weights)
    model.initialize_array_mappings(output_polling_mode="avg", additional_args={"bits": 8})
    model.xb_eval(enable=True)
    return model


@torch.no_grad()
def judge(model, digital, test_loader):
    """Return the accuracy (%), and the relative error (%) of the logits."""
    x, _ = next(iter(test_loader))
    wanted = digital(x)
    error = 100 * float((model(x) - wanted).norm() / wanted.norm())
    return test_classifier(test_loader, model, "cpu")[0], error


def show(voltages):
    """Return voltages (V) as text, in mV."""
    return "".join(f"{1e3 * v:7.0f}" for v in (voltages + 0.0).tolist())


def main():
    torch.manual_seed(0)
    train_loader, test_loader = load()
    digital = train(train_loader, EPOCHS)
    weights = digital.state_dict()
    print(f"digital network: {test_classifier(test_loader, digital, 'cpu')[0]:.1f} %")

    voltages = torch.linspace(-0.3, 0.3, 7)
    drivers = {
        scheme: SimpleFixedPoint(dac_bits=3, xb_size=(8, 8), input_encoding_scheme=scheme)
        for scheme in ("instant", "linear")
    }
    print(f"\nasked for (mV)        {show(voltages)}")
    print(f"instant, 3 bits       {show(drivers['instant'].DAC_quantize(voltages))}")
    for number, pulse in enumerate(drivers["linear"].DAC_quantize(voltages)):
        print(f"linear, bit {number}         {show(pulse)}")

    for name, widths in (
        ("DAC width, ADC of 8 bits", [(bits, 8) for bits in WIDTHS]),
        ("ADC width, DAC of 8 bits", [(8, bits) for bits in WIDTHS]),
    ):
        print(f"\n{name:<26}accuracy (%)       error of the logits (%)")
        print(f"{'bits':<26}instant  linear         instant  linear")
        for bits, (dac, adc) in zip(WIDTHS, widths, strict=True):
            (a, a_error), (b, b_error) = (
                judge(deploy(weights, scheme, dac, adc), digital, test_loader)
                for scheme in ("instant", "linear")
            )
            print(f"{bits:<26}{a:7.1f}{b:8.1f}{a_error:16.1f}{b_error:8.1f}")

    print("\nread noise (µS), all of 8 bits: accuracy (%) and error (%)")
    for noise in (0.0, 2.0, 10.0):
        line = f"{noise:<8.0f}"
        for scheme in ("instant", "linear"):
            model = deploy(weights, scheme, 8, 8, read_noise=noise)
            accuracy, error = judge(model, digital, test_loader)
            line += f"  {scheme} {accuracy:5.1f} {error:5.1f}"
        print(line)


if __name__ == "__main__":
    main()
