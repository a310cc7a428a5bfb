"""Reading instruments' files: one reader for everything that is fitted."""

from mho.fit.reading.measurement import Measurement
from mho.fit.reading.reader import read
from mho.fit.reading.wishes import KINDS

__all__ = ["KINDS", "Measurement", "read"]
