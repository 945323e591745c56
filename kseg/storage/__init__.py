"""Atomic writes, and folders with one writer."""
