"""Rows of OT extension."""
