"""The cryptography, sans-I/O: every protocol is a pair of generators that never touch a socket."""

if __name__ != "bunet.protocols":  # another name would compile kernels into a second, conflicting cache
    raise ImportError("import bunet.protocols, not " + __name__)
