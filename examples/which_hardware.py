"""Which ADC, tile and device a network needs, for at most one point of accuracy at least energy.

    python examples/which_hardware.py [--quick] [--out which_hardware]

300 kinds of hardware, four chips of each, one day after programming, on a chip of 22 nm all of
whose parts are counted. Stop it at any time: started again, it goes on. The same study as a file is
built in: mho study which_hardware.
"""

from pathlib import Path

import torch

import mho
from example_options import parsed, save_figure
from mho.analysis import chips
from mho.demo.data import digits
from mho.demo.models import build
from mho.demo.train import accuracy, train
from mho.devices import presets
from mho.plot.study import study_sheet
from mho.study import accuracy_and_cost, sweep

DAY = 86_400.0
DEVICES = (
    "pcm_joshi", "pcm_hermes_1", "pcm_hermes_2", "reram_wan", "reram_cmo", "alox_hfo2", "epiram",
    "taox_hfox", "hfox_stanford_pku", "fefet_3v0", "ecram_metal_oxide", "gokmen_vlasov",
)  # fmt: skip
SPACE = {
    "adc.bits": [4, 5, 6, 7, 8],
    "array": [mho.Array(n, n) for n in (16, 32, 64, 128, 256)],
    "device": [presets.get(name) for name in DEVICES],
}
QUICK = {
    "adc.bits": [4, 5, 8],
    "array": [mho.Array(n, n) for n in (32, 128, 256)],
    "device": [presets.get(name) for name in ("pcm_joshi", "alox_hfo2", "epiram", "gokmen_vlasov")],
}


def main(folder: Path, quick: bool) -> None:
    torch.set_num_threads(1)
    data, model = digits(seed=0), build("CNN", seed=0)
    train(model, data, epochs=8, seed=0)
    digital = accuracy(model, data)
    print(f"digital: {100 * digital:.1f} %")
    evaluate = accuracy_and_cost(
        model,
        data.test_x,
        data.test_y,
        data.train_x[:100],
        architecture=chips.get("generic_22nm"),
        after=DAY,
    )
    found = sweep(
        QUICK if quick else SPACE,
        evaluate,
        hardware=mho.Hardware(dac=mho.DAC(bits=6), adc=mho.ADC(bits=8)),
        chips=2 if quick else 4,
        store=folder / ("quick.journal" if quick else "study.journal"),
        label="which hardware",
    )
    print(f"\n{found}\n")
    best = found.best(minimize="energy", accuracy_within=0.01, reference={"accuracy": digital})
    print(f"{best}\n\n{found.sensitivity()}")
    found.save(folder)
    save_figure(study_sheet(found, best), folder / "study.png")
    print(f"\n{found.report(folder / 'report.html', choice=best)}")


if __name__ == "__main__":
    options = parsed(__doc__, "which_hardware", quick="36 kinds of hardware, two chips of each")
    main(options.out, options.quick)
