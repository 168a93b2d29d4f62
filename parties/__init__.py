"""Where protocols meet the network: drivers, scheduler, sessions, Alice and Bob."""

if __name__ != "bunet.parties":  # another name would compile kernels into a second, conflicting cache
    raise ImportError("import bunet.parties, not " + __name__)
