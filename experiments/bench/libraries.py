"""The same work by other libraries, timed in the same run: what is installed of them; the others are said to be absent.

OpenSSL through `cryptography`, SEAL through `tenseal`, and python-paillier. None is used by any protocol for this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from importlib import metadata, util
from typing import Any

import numpy as np

from bunet.experiments.bench.case import Call, Case
from bunet.experiments.bench.cases import CACHED, LARGE
from bunet.experiments.bench.kernels import CLOCK, RUNS, Clock, Step, entry, measure

SLOTS = 4096


def library_cases() -> Iterator[Case]:
    """All of them, installed or not: named as ours, in the same unit and items."""
    for name, blocks in (("aes.ctr", CACHED), ("aes.ctr.memory", LARGE // 16)):
        yield Case(name, blocks, "M/s", partial(_openssl_ctr, blocks), opponent="OpenSSL", package="cryptography")
    for name in ("encrypt", "decrypt", "multiply-plain"):
        yield Case(f"bfv.{name}.n4096-q94", 1, "us", partial(_seal, name), opponent="SEAL", package="tenseal")
    # a call does one value; a ciphertext of ours has 4096
    for name in ("encrypt", "decrypt", "multiply-plain"):
        prepare = partial(_paillier, name)
        yield Case(f"bfv.{name}.n4096-q94", 1 / SLOTS, "us", prepare, opponent="python-paillier", package="phe")


def is_installed(package: str) -> bool:
    return util.find_spec(package) is not None


def run(
    document: dict[str, Any],
    cases: Iterable[Case],
    *,
    runs: int = RUNS,
    clock: Clock = CLOCK,
    step: Step = lambda name: None,
    installed: Callable[[str], bool] = is_installed,
) -> None:
    """Add to a document of `kernels.run`: `compared`, for the kernels it has, and `absent`, libraries not installed.

    ratio: our speed over theirs, of medians.
    """
    ours: Mapping[str, Mapping[str, Any]] = {known["name"]: known for known in document["kernels"]}
    for case in cases:
        if case.name not in ours or case.package is None:
            continue
        if not installed(case.package):
            text = f"{case.opponent} (pip install {case.package})"
            if text not in document["absent"]:
                document["absent"].append(text)
            continue
        step(f"{case.opponent} {case.name}")
        (figures,) = measure(case, runs, clock)
        theirs, our_median = entry(case, figures), ours[case.name]["median"]
        ratio = case.speed(our_median, theirs["median"])
        document["compared"].append(
            {"library": case.opponent, "version": _version(case.package), **theirs, "ours": our_median, "ratio": ratio}
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
