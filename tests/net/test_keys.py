from __future__ import annotations

from pathlib import Path

import pytest
from zmq.utils import z85

from bunet.net.keys import BadKey, KeyPair, check, keygen, load_allowed, load_public, public_keys


def test_keygen_saves_what_loads(tmp_path: Path) -> None:
    pair = keygen(tmp_path / "alice", "ward 3")
    assert KeyPair.load(tmp_path / "alice") == pair
    assert load_public(tmp_path / "alice.pub") == pair.public
    assert load_allowed(tmp_path / "alice.pub") == {pair.public: "ward 3"}
    assert (tmp_path / "alice").stat().st_mode & 0o777 == 0o600
    assert pair.secret not in (tmp_path / "alice.pub").read_text()
    assert pair.secret not in repr(pair)
    assert KeyPair.generate() != KeyPair.generate()


@pytest.mark.parametrize("there", ["alice", "alice.pub"])
def test_keys_are_never_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("precious")
    with pytest.raises(BadKey, match="exists already"):
        keygen(tmp_path / "alice")
    assert (tmp_path / there).read_text() == "precious"


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    keygen(tmp_path / "alice")
    (tmp_path / "alice").chmod(0o640)
    with pytest.raises(BadKey, match="chmod 600"):
        KeyPair.load(tmp_path / "alice")


def test_one_half_in_the_place_of_the_other_is_named(tmp_path: Path) -> None:
    """Whatever the mode of the file: a public half may be read by all, and `chmod 600` would not make a key file of it."""
    pair, path = keygen(tmp_path / "bob.key"), tmp_path / "bob.key"
    with pytest.raises(BadKey) as caught:
        KeyPair.load(tmp_path / "bob.key.pub")
    assert str(caught.value) == f"{path}.pub is the public half of a key: give {path}"
    for read in (load_public, load_allowed):
        with pytest.raises(BadKey) as caught:
            read(path)
        assert str(caught.value) == f"{path} is a key file with a secret: give its public half, {path}.pub"
        assert pair.secret not in str(caught.value)
    (tmp_path / "notes").write_text("of the ward\n")
    with pytest.raises(BadKey, match="notes is not a key file"):
        KeyPair.load(tmp_path / "notes")


def test_a_byte_order_mark_is_no_part_of_a_key(tmp_path: Path) -> None:
    pair = keygen(tmp_path / "bob.key", "Bob")
    for name in ("bob.key", "bob.key.pub"):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + (tmp_path / name).read_bytes())
    assert KeyPair.load(tmp_path / "bob.key") == pair
    assert load_public(tmp_path / "bob.key.pub") == pair.public
    assert load_allowed(tmp_path / "bob.key.pub") == public_keys(tmp_path / "bob.key.pub") == {pair.public: "Bob"}


def test_bad_key_files(tmp_path: Path) -> None:
    one, two = KeyPair.generate(), KeyPair.generate()
    path = tmp_path / "key"
    with pytest.raises(BadKey, match="cannot read"):
        KeyPair.load(path)
    with pytest.raises(BadKey, match="cannot write"):
        one.save(tmp_path / "none" / "key")
    path.touch(mode=0o600)
    for text, words in [
        ("", "not a key file"),
        (f"public {one.public}\n", "not a key file"),
        (f"public {one.public}\nsecret {two.secret}\n", "belong together"),
        (f"public {one.public}\nsecret {one.secret[:-1]}\n", "40 Z85"),
        (f"public {one.public}\nsecret {one.secret}\nmore x\n", "not a key file"),
    ]:
        path.write_text(text)
        with pytest.raises(BadKey, match=words) as caught:
            KeyPair.load(path)
        assert one.secret not in str(caught.value)
        assert two.secret not in str(caught.value)
    path.write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(BadKey, match="not text"):
        KeyPair.load(path)


def test_allow_lists(tmp_path: Path) -> None:
    keys = [KeyPair.generate().public for _ in range(3)]
    path = tmp_path / "allowed"
    path.write_text(f"# clients\n#x\n\n{keys[0]} ward 3\n  {keys[1]}\n{keys[2]}   x \n")
    assert load_allowed(path) == {keys[0]: "ward 3", keys[1]: keys[1][:8], keys[2]: "x"}
    with pytest.raises(BadKey, match="3 public keys"):
        load_public(path)
    path.write_text("ward 3\n")
    with pytest.raises(BadKey, match="40 Z85"):
        load_allowed(path)


def test_no_key_begins_with_the_comment_sign() -> None:
    """The largest first word of a key is 2^32 - 1, whose first digit is below that of the hash."""
    assert z85.encode(b"\xff" * 32)[:1] == b"%"
    with pytest.raises(BadKey):
        check("#" + "0" * 39)


@pytest.mark.parametrize("key", ["", "0" * 39, "0" * 41, "~" * 40, "ä" * 40, " " * 40, "#" * 40])
def test_check(key: str) -> None:
    with pytest.raises(BadKey):
        check(key)


def test_a_label_cannot_paint_on_the_terminal(tmp_path: Path) -> None:
    """The key's name comes from whoever made it: it might move the cursor and write another fingerprint over the true one."""
    public, path = KeyPair.generate().public, tmp_path / "bob.pub"
    path.write_text(f"{public} Bob\x1b[1G\x9b2K\u202e1234\n")
    assert load_allowed(path) == public_keys(path) == {public: "Bob?[1G?2K?1234"}


def test_a_file_that_is_no_text_is_a_sentence(tmp_path: Path) -> None:
    for content in (b"\xff\xfe\xfd", b"\0" * 50):
        (tmp_path / "x.pub").write_bytes(content)
        with pytest.raises(BadKey, match=r"not text|not a key"):
            public_keys(tmp_path / "x.pub")
