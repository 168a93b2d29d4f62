"""The same work by other libraries, timed in the same run: what is installed of them; the others are said to be absent.

OpenSSL through `cryptography`, SEAL through `tenseal`, and python-paillier. None is used by any protocol for this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import metadata, util
from typing import Any

import numpy as np

from bunet.experiments.bench.cases import CACHED, LARGE, Call, Case
from bunet.experiments.bench.kernels import CLOCK, RUNS, Clock, Step, measure

SLOTS = 4096


@dataclass(frozen=True)
class Rival:
    """One kernel of another library. package: what is installed for it. case: named as ours, in the same unit and items."""

    library: str
    package: str
    case: Case


def rivals() -> Iterator[Rival]:
    """All of them, installed or not."""
    for name, blocks in (("aes.ctr", CACHED), ("aes.ctr.memory", LARGE // 16)):
        yield Rival("OpenSSL", "cryptography", Case(name, blocks, "M/s", partial(_openssl_ctr, blocks)))
    for name in ("encrypt", "decrypt", "multiply-plain"):
        case = Case(f"bfv.{name}.n4096-q94", 1, "us", partial(_seal, name))
        yield Rival("SEAL", "tenseal", case)
    # a call does one value; a ciphertext of ours has 4096
    for name in ("encrypt", "decrypt", "multiply-plain"):
        case = Case(f"bfv.{name}.n4096-q94", 1 / SLOTS, "us", partial(_paillier, name))
        yield Rival("python-paillier", "phe", case)


def is_installed(package: str) -> bool:
    return util.find_spec(package) is not None


def run(
    document: dict[str, Any],
    *,
    runs: int = RUNS,
    clock: Clock = CLOCK,
    step: Step = lambda name: None,
    known: Sequence[Rival] | None = None,
    installed: Callable[[str], bool] = is_installed,
) -> None:
    """Add to a document of `kernel_bench.run`: `compared`, for the kernels it has, and `absent`, libraries not installed.

    ratio: our speed over theirs, of medians.
    """
    ours: Mapping[str, Mapping[str, Any]] = {entry["name"]: entry for entry in document["kernels"]}
    for rival in rivals() if known is None else known:
        if rival.case.name not in ours:
            continue
        if not installed(rival.package):
            text = f"{rival.library} (pip install {rival.package})"
            if text not in document["absent"]:
                document["absent"].append(text)
            continue
        step(f"{rival.library} {rival.case.name}")
        entry = measure(rival.case, runs, clock).document()
        mine = ours[rival.case.name]["median"]
        ratio = mine / entry["median"] if rival.case.rate else entry["median"] / mine
        document["compared"].append(
            {"library": rival.library, "version": _version(rival.package), **entry, "ours": mine, "ratio": ratio}
        )


def _version(package: str) -> str:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return package


def _openssl_ctr(blocks: int) -> Call:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    cipher = Cipher(algorithms.AES(bytes(16)), modes.CTR(bytes(16))).encryptor()
    zeros, out = bytes(16 * blocks), bytearray(16 * blocks + 16)
    return lambda: cipher.update_into(zeros, out)


def _seal(operation: str) -> Call:
    """N = 4096, ciphertexts of two 47-bit primes and secret-key encryption, as n4096-q94.

    SEAL sets a third prime aside for key switching, which together is over its security table: it is told not to check.
    Products are taken in the NTT domain, as ours are.
    """
    from tenseal import sealapi as seal  # type: ignore[import-untyped]

    parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
    parameters.set_poly_modulus_degree(SLOTS)
    parameters.set_coeff_modulus(seal.CoeffModulus.Create(SLOTS, [47, 47, 47]))
    parameters.set_plain_modulus(seal.PlainModulus.Batching(SLOTS, 24))
    context = seal.SEALContext(parameters, True, seal.SEC_LEVEL_TYPE.NONE)
    keys = seal.KeyGenerator(context)
    secret, plain, cipher, out = keys.secret_key(), seal.Plaintext(), seal.Ciphertext(), seal.Plaintext()
    seal.BatchEncoder(context).encode(list(range(SLOTS)), plain)
    encryptor, decryptor = seal.Encryptor(context, secret), seal.Decryptor(context, secret)
    encryptor.encrypt_symmetric(plain, cipher)
    if operation == "encrypt":
        return lambda: encryptor.encrypt_symmetric(plain, cipher)
    if operation == "decrypt":
        return lambda: decryptor.decrypt(cipher, out)
    evaluator, product = seal.Evaluator(context), seal.Ciphertext()
    evaluator.transform_to_ntt_inplace(cipher)
    evaluator.transform_to_ntt_inplace(plain, cipher.parms_id())
    return lambda: evaluator.multiply_plain(cipher, plain, product)


@cache
def _paillier_key() -> Any:
    from bunet.protocols.pahe.paillier import Paillier

    return Paillier(1 << 24)


def _paillier(operation: str) -> Call:
    scheme, value = _paillier_key(), np.array([123456], np.uint64)
    cipher = scheme.encrypt(value)
    if operation == "encrypt":
        return lambda: scheme.encrypt(value)
    if operation == "decrypt":
        return lambda: scheme.decrypt(cipher, 1)
    return lambda: scheme.multiply_plain(cipher, value)
