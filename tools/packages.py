"""Build the wheel and the sdist, and use them where nothing else is installed.

    python tools/packages.py                # both, and every extra
    python tools/packages.py wheel viz hf   # the wheel alone and with these extras
    python tools/packages.py sdist          # the unpacked sdist's own fast tests

Every extra gets a new environment, into which the wheel is installed with it, and runs what it is
for. Needs uv; see `versions.py` about torch's size.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
import tempfile
from pathlib import Path

from environments import PROJECT, ROOT, create, install, run, uv
from versions import FAST

# Beside the fast part: what reads the folders that an sdist could have left out.
FOLDERS = ("tests/test_docs.py", "tests/test_examples.py", "tests/test_packaging.py")
START = """
import sys, torch, mho
hardware = mho.Hardware(adc=mho.ADC(bits=8))
def quality(hardware, seed, settings):
    return 1 - 2.0**-hardware.adc.bits
def swept(**options):
    from mho.study import sweep
    return sweep({"adc.bits": [4, 6]}, quality, hardware=hardware, chips=2, **options)
"""
# What an extra is for, in a few lines; nothing: the wheel alone.
USES = {
    "": """
from mho_cli.app import main
model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
chip = mho.convert(model, hardware)
mho.program(chip)
assert torch.isfinite(chip(torch.rand(3, 8))).all()
assert main(["doctor"]) == 0
assert main(["demo", "--quick"]) == 1  # viz is missing, and named
""",
    "viz": """
from mho_cli.app import main
assert main(["demo", "--quick", "--out", "made"]) == 0
""",
    "study": """
assert len(swept(workers=0, store="study.journal").records) == 4
swept(workers=0, store="study.db").report("made")
""",
    "ray": """
import ray
from mho.study import RayExecutor
ray.init(num_cpus=1, include_dashboard=False)
assert len(swept(executor=RayExecutor(num_cpus=1), workers=1).records) == 4
""",
    "postgres": """
try:
    swept(workers=0, store="postgresql://nobody@127.0.0.1:9/nothing")
except ImportError:
    raise
except Exception as error:  # no server answers there
    print(type(error).__name__, error)
""",
    "tables": """
import pandas as pd
from mho_cli.app import main
volts = [0.1 * n for n in range(1, 9)]
made = pd.DataFrame({"V": volts, "I (A)": [1e-5 * v for v in volts]})
made.to_excel("iv.xlsx", index=False)
made.to_parquet("iv.parquet")
assert main(["fit", "iv.xlsx", "--dry-run"]) == 0
assert main(["fit", "iv.parquet", "--dry-run"]) == 0
""",
    "examples": """
from mho.demo.data import mnist1d
mnist1d(0, 20)
""",
    "hf": """
import peft, transformers
sizes = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
config = transformers.BertConfig(vocab_size=20, max_position_embeddings=8, pad_token_id=0, **sizes)
chip = mho.convert(transformers.BertForMaskedLM(config).eval(), hardware)
mho.freeze(chip)
lora = mho.nn.adapters.know_crossbars(peft.LoraConfig(target_modules=["query", "value"]))
assert peft.get_peft_model(chip, lora)(torch.zeros(1, 4, dtype=torch.long)).logits.shape[-1] == 20
""",
    "vision": """
import torchvision
chip = mho.convert(torchvision.models.resnet18(num_classes=4).eval(), hardware)
assert chip(torch.rand(1, 3, 32, 32)).shape == (1, 4)
""",
    "onnx": """
chip = mho.convert(torch.nn.Linear(8, 4), hardware)
torch.onnx.export(chip.eval(), (torch.rand(2, 8),), dynamo=True, verbose=False).save("chip.onnx")
""",
    "lm-eval": """
import lm_eval, mho.study.language
""",
    "docs": """
import sphinx, myst_parser, sphinx_gallery, pydata_sphinx_theme, sphinx_copybutton, sphinx_design
""",
}


def build(folder: Path) -> tuple[Path, Path]:
    """Build both, and return wheel and sdist."""
    uv("build", "--quiet", "--out-dir", folder, ROOT)
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


def use(wheel: Path, extra: str, folder: Path, python: str) -> bool:
    """Whether the wheel, with an extra and nothing else, does what the extra is for."""
    folder.mkdir()
    interpreter = create(folder / "environment", python)
    install(interpreter, f"{PROJECT['name']}{f'[{extra}]' if extra else ''} @ {wheel.as_uri()}")
    return run(interpreter, "-W", "ignore", "-c", START + USES[extra], cwd=folder) == 0


def test(sdist: Path, folder: Path, python: str) -> bool:
    """Whether the tests of an unpacked sdist pass."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.iterdir()
    interpreter = create(folder / "environment", python)
    install(interpreter, "-e", f"{unpacked}[dev]")
    pytest = ("-m", "pytest", "-n", "2", "-m", "not slow", "--disable-warnings")
    return run(interpreter, *pytest, *FAST, *FOLDERS, cwd=unpacked) == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", nargs="?", choices=["wheel", "sdist"], help="default: both")
    parser.add_argument("extras", nargs="*", choices=[[], *USES], help="default: none and all")
    parser.add_argument("--python", default="3.11")
    asked = parser.parse_intermixed_args()
    good: dict[str, bool] = {}
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside)
        wheel, sdist = build(folder / "built")
        if asked.what != "sdist":
            for extra in asked.extras or USES:
                with tempfile.TemporaryDirectory() as used:  # one after the other: they are large
                    name = f"wheel[{extra}]" if extra else "wheel"
                    good[name] = use(wheel, extra, Path(used) / "use", asked.python)
                    print(name, "works" if good[name] else "FAILS", flush=True)
        if asked.what != "wheel":
            good["sdist"] = test(sdist, folder / "unpacked", asked.python)
            print("sdist", "passes" if good["sdist"] else "FAILS", flush=True)
    sys.exit(not all(good.values()))


if __name__ == "__main__":
    main()
