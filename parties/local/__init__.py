"""Both parties on this machine, as two processes over loopback."""
