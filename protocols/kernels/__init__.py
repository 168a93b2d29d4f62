"""Every kernel that numba compiles; nothing else imports numba."""
