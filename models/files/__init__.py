"""How files are written and read: whole or not at all, sealed, private, with one sentence for a full disk."""
