"""The protocols of the layers of the program: every module here is imported by `registry.load`."""
