"""Garbling and evaluation of circuits."""
