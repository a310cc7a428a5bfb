"""Low-rank gradients."""
# ruff: noqa: F401

from mho.compat import _names
from mho.compat.xbtorch.decomposition import nmf, sbpca, svd
from mho.compat.xbtorch.decomposition.base import FullOuterProduct, GenericDecomposition
from mho.compat.xbtorch.decomposition.nmf import NMF
from mho.compat.xbtorch.decomposition.sbpca import SBPCA
from mho.compat.xbtorch.decomposition.svd import FullSVD, TruncatedSVD

for _method in (nmf, sbpca, svd):
    _names.lend(_method, GenericDecomposition)
