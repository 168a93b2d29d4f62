"""Every kernel that numba compiles; nothing else imports numba."""

from __future__ import annotations

from bunet.models.errors import UsageError


class TierUnavailable(UsageError):
    """BUNET_TIER names a tier that does not exist or that this machine cannot run; raised when kernels are imported."""
