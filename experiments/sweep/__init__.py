"""Grids of runs from experiment files: points, tables, pictures."""
