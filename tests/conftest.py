"""What all tests share."""

import signal
import sys
from pathlib import Path

import hypothesis
import pytest
import torch

# References lie beside the tests; importlib mode puts nothing on the path by itself.
sys.path.insert(0, str(Path(__file__).parent))

import clean_folder
import comparisons

clean_folder.watch()
comparisons.guard()

hypothesis.settings.register_profile(
    "mho", deadline=None, derandomize=True, max_examples=40, database=None
)
hypothesis.settings.load_profile("mho")

# Shells start what runs in the background with interrupts ignored; some tests raise one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
