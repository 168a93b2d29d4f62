"""One session between two parties: the handshake, the keys, the run."""
