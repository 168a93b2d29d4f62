"""CURVE key pairs and allow-lists: making, saving, reading.

A key file has two lines, `public KEY` and `secret KEY`, with keys in Z85 (ZeroMQ RFC 32), and is readable by its owner
alone. The public half stands beside it in FILE.pub, as a line of an allow-list: `KEY NAME`. In all these files a line
that is empty or begins with a hash is a comment (no key can: the first of five digits is at most 82, a hash is 84).
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.utils import z85

from bunet.models.errors import UsageError
from bunet.models.files.disk_space import explaining_full_disk
from bunet.models.printable import printable

MAX_BYTES = 16 << 20  # of a file of keys


class BadKey(UsageError):
    """A key or a key file is missing, unsafe or not what it should be."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A Curve25519 key pair in Z85, 40 characters each. The secret does not show in its repr."""

    public: str
    secret: str = field(repr=False)

    @classmethod
    def generate(cls) -> KeyPair:
        """A fresh pair from the operating system's randomness (libsodium, through libzmq)."""
        public, secret = zmq.curve_keypair()
        return cls(public.decode(), secret.decode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> KeyPair:
        """Read a key file. Raises BadKey where it is missing, not a pair, or readable by others."""
        path = Path(path)
        try:
            mode = path.stat().st_mode
            lines = _lines(path)
        except (OSError, ValueError) as error:
            raise BadKey(f"cannot read the key file {path}: {_reason(error)}") from None
        fields = {name: key for name, _, key in (line.partition(" ") for line in lines)}
        if lines and not {"public", "secret"} & set(fields) and all(_is_key(name) for name in fields):
            whole = path.with_suffix("") if path.suffix == ".pub" else "the key file itself"
            raise BadKey(f"{path} is the public half of a key: give {whole}")
        if set(fields) != {"public", "secret"} or len(lines) != 2:
            raise BadKey(f"{path} is not a key file: it needs the lines `public KEY` and `secret KEY`")
        if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise BadKey(f"the key file {path} can be read by other users: run `chmod 600 {path}`")
        pair = cls(check(fields["public"], str(path)), check(fields["secret"], str(path)))
        if zmq.curve_public(pair.secret.encode()).decode() != pair.public:
            raise BadKey(f"the two keys in {path} do not belong together")
        return pair

    def save(self, path: str | os.PathLike[str], name: str = "") -> Path:
        """Write a key file (mode 0600) and its public half to `path`.pub; returns the latter.

        Never overwrites: raises BadKey where either file exists, since a lost secret key cannot be had again. Leaves neither
        file where one cannot be written (DiskFull, OSError).
        """
        path = Path(path)
        public_path = path.with_name(path.name + ".pub")
        if public_path.exists():
            raise BadKey(f"{public_path} exists already; keys are not overwritten")
        label = printable(" ".join((name or path.name).split()))
        _create(path, 0o600, f"# BUNET key pair: keep this file secret\npublic {self.public}\nsecret {self.secret}\n")
        try:
            _create(public_path, 0o644, f"{self.public} {label}\n")
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return public_path


def keygen(path: str | os.PathLike[str], name: str = "") -> KeyPair:
    """Make a fresh key pair and save it at `path` and `path`.pub; `name` labels it in allow-lists."""
    pair = KeyPair.generate()
    pair.save(path, name)
    return pair


def load_public(path: str | os.PathLike[str]) -> str:
    """The one key of a .pub file, such as the server's that a client needs. Raises BadKey."""
    keys = load_allowed(path)
    if len(keys) != 1:
        raise BadKey(f"{path} holds {len(keys)} public keys where one is expected")
    return next(iter(keys))


def load_allowed(path: str | os.PathLike[str]) -> dict[str, str]:
    """An allow-list: public key -> name. One `KEY NAME` a line, as in .pub files, which may just be appended.

    A name comes from whoever made the key: characters that a terminal would obey are question marks. Raises BadKey, also for
    a key file, whose secret is not for such lists.
    """
    path = Path(path)
    try:
        lines = _lines(path)
    except (OSError, ValueError) as error:
        raise BadKey(f"cannot read the public keys in {path}: {_reason(error)}") from None
    if any(_is_secret(line) for line in lines):
        raise BadKey(f"{path} is a key file with a secret: give its public half, {path}.pub")
    allowed = {}
    for line in lines:
        key, _, name = line.partition(" ")
        allowed[check(key, str(path))] = printable(name.strip()) or key[:8]
    return allowed


def public_keys(path: str | os.PathLike[str]) -> dict[str, str]:
    """Public key -> name of any of these files: a key file's own, or those of a .pub file or an allow-list. Raises BadKey."""
    try:
        lines = _lines(Path(path))
    except (OSError, ValueError) as error:
        raise BadKey(f"cannot read the public keys in {path}: {_reason(error)}") from None
    if any(_is_secret(line) for line in lines):
        return {KeyPair.load(path).public: printable(Path(path).name)}
    allowed = load_allowed(path)
    if not allowed:
        raise BadKey(f"{path} holds no public key")
    return allowed


def fingerprint(public: str) -> str:
    """What two people compare: the first 128 bits of the SHA-256 of a public key's 32 bytes, as eight groups of four digits.

    Somebody who would stand in the middle needs a key of his own with the same ones: 2^128 tries.
    """
    digits = hashlib.sha256(z85.decode(check(public).encode("ascii"))).hexdigest()[:32]
    return " ".join(digits[at : at + 4] for at in range(0, 32, 4))


def check(key: str, where: str = "a key") -> str:
    """`key`, if it is 32 bytes in Z85; raises BadKey that names `where`, and never shows the key."""
    if not _is_key(key):
        raise BadKey(f"{where} holds something that is not a key of 40 Z85 characters")
    return key


def _is_key(text: str) -> bool:
    try:
        return len(text) == 40 and z85.encode(z85.decode(text.encode("ascii"))).decode() == text
    except Exception:  # z85 raises KeyError, struct.error, ValueError
        return False


def _is_secret(line: str) -> bool:
    return line.partition(" ")[0] == "secret"


def _lines(path: Path) -> list[str]:
    if not path.is_file():  # a pipe would be waited for, and a device has no end
        raise OSError(errno.EINVAL, "there is no such file" if not path.exists() else "it is not a file")
    if path.stat().st_size > MAX_BYTES:
        raise OSError(errno.EFBIG, f"it has more than {MAX_BYTES >> 20} MiB")
    # Some editors, such as Windows' Notepad, put a byte order mark first.
    lines = (line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _create(path: Path, mode: int, text: str) -> None:
    try:
        with explaining_full_disk(path.parent):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise BadKey(f"{path} exists already; keys are not overwritten") from None
    except OSError as error:
        raise BadKey(f"cannot write {path}: {_reason(error)}") from None
    try:
        with explaining_full_disk(path.parent), os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not text"
