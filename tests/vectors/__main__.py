"""`python -m tests.vectors [NAME ...]`: write the known answers of this code over the kept ones (all of them, or those named).

When that is due: after a change of the wire, of a file format or of a derivation that was meant, in the same commit, with the
reason in its message and the change in CHANGELOG.md. Never to make a red test green: a difference that nobody meant is what
these files are for. Values of standards (aes_nist.json) are never written. A kept file (files/) is not written over either:
it is what a user of this version has on disk; a new version of a format gets a new file beside it.
"""

from __future__ import annotations

import sys

from tests.vectors import kept, kept_files, kernels, transcripts


def main(wanted: list[str]) -> None:
    for path in kept_files.write_missing():
        print(f"{path}: new")
    producers = {**kernels.PRODUCERS, **transcripts.PRODUCERS, **kept_files.PRODUCERS}
    for name in wanted or producers:
        answers = producers[name]()
        changed = not kept.path_of(name).exists() or kept.read(name) != answers
        kept.write(name, answers)
        print(f"{kept.path_of(name)}: {'changed' if changed else 'as it was'}")


main(sys.argv[1:])
