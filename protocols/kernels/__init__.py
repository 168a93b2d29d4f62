"""Every kernel that numba compiles; nothing else imports numba."""


class TierUnavailable(RuntimeError):
    """BUNET_TIER names a tier that does not exist or that this machine cannot run; raised when kernels are imported."""
