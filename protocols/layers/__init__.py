"""One protocol per (operation, name) for the layers of the program."""
