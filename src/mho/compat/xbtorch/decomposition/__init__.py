"""Low-rank gradients."""

from mho.compat._names import lend
from mho.compat.xbtorch.decomposition import nmf, sbpca, svd
from mho.compat.xbtorch.decomposition.base import FullOuterProduct, GenericDecomposition
from mho.compat.xbtorch.decomposition.nmf import NMF
from mho.compat.xbtorch.decomposition.sbpca import SBPCA
from mho.compat.xbtorch.decomposition.svd import FullSVD, TruncatedSVD

__all__ = [
    "NMF",
    "SBPCA",
    "FullOuterProduct",
    "FullSVD",
    "GenericDecomposition",
    "TruncatedSVD",
]

for _method in (nmf, sbpca, svd):
    lend(_method, GenericDecomposition)
del _method
