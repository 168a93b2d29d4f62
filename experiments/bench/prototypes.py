"""The folder of `bunet bench kernels --prototypes`: reference programs in numba, imported for as long as they are timed.

Nothing else needs such a folder. It may be read-only: neither bytecode nor compiled kernels are written there. Its modules
are called as one another's top-level names (`simd`, `aes`, ...), so they are importable while they are timed and gone
afterwards.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from bunet.experiments.bench.case import Case
from bunet.models.errors import UsageError

FLOOR = 0.9  # of a prototype's speed, unless a case says otherwise

# module -> what the comparisons call of it
NEEDED = {
    "simd": ("expand_key",),
    "aes": ("ctr512", "mmo512"),
    "half_gates": ("garble", "evaluate", "relu_circuit"),
    "ot_extension": ("NT", "iknp_recv", "iknp_send", "rk_interleave"),
    "ntt_scalar": ("prime", "shoup", "tables"),
    "ntt_ifma": ("make_ntt",),
    "bfv": ("addmsg", "c0_add", "c0_comb", "enc_comb", "isetup", "make_intt", "sample_cbd", "scale", "unif"),
    "multiply_accumulate": ("consts", "mac_ifma"),
}


with_prototype = partial(Case, opponent="prototype", floor=FLOOR)


def expect(equal: bool, name: str) -> None:
    """UsageError where the two sides of a comparison do not compute the same: the prototype is not what it should be."""
    if not equal:
        raise UsageError(f"--prototypes: in the comparison {name} the prototype's results are not ours")


def check(folder: Path) -> None:
    """UsageError unless the folder has every file, and this machine the instructions that the programs are written in."""
    from bunet.protocols.kernels.machine import tier

    if not folder.is_dir():
        raise UsageError(f"--prototypes {folder} is not a folder")
    for name in NEEDED:
        if not (folder / f"{name}.py").is_file():
            raise UsageError(f"--prototypes {folder} has no file {name}.py")
    if "vaes" not in tier.available():
        raise UsageError("--prototypes needs a processor with AVX-512, VAES and IFMA: the programs use nothing less")


@contextmanager
def loaded(folder: Path) -> Iterator[SimpleNamespace]:
    """The modules of a checked folder by their names; UsageError where one cannot be imported or lacks a function.

    What numba compiles of them is kept in a temporary folder until the end.
    """
    from bunet.protocols.kernels.machine import foreign

    hidden = {name: sys.modules.pop(name) for name in NEEDED if name in sys.modules}
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    place = str(folder.resolve())
    sys.path.insert(0, place)
    importlib.invalidate_caches()
    try:
        with tempfile.TemporaryDirectory(prefix="bunet-prototypes-") as cache:
            with foreign.cache_in(Path(cache)):
                modules = SimpleNamespace(**{name: _module(folder, name) for name in NEEDED})
            yield modules
    finally:
        sys.path.remove(place)
        sys.dont_write_bytecode = bytecode
        for name in NEEDED:
            sys.modules.pop(name, None)
        sys.modules.update(hidden)


def _module(folder: Path, name: str) -> object:
    try:
        module = importlib.import_module(name)
    except Exception as error:  # whatever a program does when it is imported
        reason = (str(error).splitlines() or [""])[0]
        raise UsageError(f"--prototypes {folder}: {name}.py: {type(error).__name__}: {reason}") from error
    for wanted in NEEDED[name]:
        if not hasattr(module, wanted):
            raise UsageError(f"--prototypes {folder}: {name}.py has no {wanted}")
    return module
