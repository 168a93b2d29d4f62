"""A secret as shares of two parties: what a test that holds it whole begins with."""

import numpy as np

from bunet.models.program import TensorType
from bunet.protocols.ass.share import Share, reduce_to
from bunet.protocols.random import Random


def split(secret: np.ndarray, type: TensorType, random: Random) -> tuple[Share, Share]:
    """Two fresh shares of signed integers.

    secret: int64, |secret| < 2^type.bound.
    """
    values = reduce_to(np.asarray(secret, np.int64).astype(np.uint64), type.width)
    first = random.uniform(values.shape, type.width).astype(values.dtype)
    return Share.of(first, type), Share.of(values - first, type)
