"""Low-rank gradients: what a crossbar is to be written, in a few outer products.

A weight's gradient is a sum of outer products, one per sample of the batch. A decomposition says
it in fewer: ``gradient ≈ left @ right.T``, so that a crossbar needs fewer writes, a worker fewer
bytes. `capture` gets the samples of every layer out of an ordinary training step.
"""

from mho.decomposition.base import Decomposition, Factors, FullOuterProduct
from mho.decomposition.capturing import Capture, capture
from mho.decomposition.nmf import NMF
from mho.decomposition.sbpca import StreamingBatchPCA
from mho.decomposition.svd import FullSVD, TruncatedSVD

__all__ = [
    "NMF",
    "Capture",
    "Decomposition",
    "Factors",
    "FullOuterProduct",
    "FullSVD",
    "StreamingBatchPCA",
    "TruncatedSVD",
    "capture",
]
