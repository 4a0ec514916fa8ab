"""The data set of a stand-in for UniMatch."""

from standin_semi import SemiDataset

__all__ = ["SemiDataset"]
