"""The command line, sweeps, benchmarks and reports."""

if __name__ != "bunet.experiments":  # another name would compile kernels into a second, conflicting cache
    raise ImportError("import bunet.experiments, not " + __name__)
