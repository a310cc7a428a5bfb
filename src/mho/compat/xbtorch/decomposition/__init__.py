"""Low-rank gradients."""

from mho.compat.xbtorch.decomposition.base import FullOuterProduct, GenericDecomposition
from mho.compat.xbtorch.decomposition.nmf import NMF
from mho.compat.xbtorch.decomposition.sbpca import SBPCA
from mho.compat.xbtorch.decomposition.svd import FullSVD, TruncatedSVD

__all__ = ["NMF", "SBPCA", "FullOuterProduct", "FullSVD", "GenericDecomposition", "TruncatedSVD"]
