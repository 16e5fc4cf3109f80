"""Texts: found, read, encoded, cached, split and batched."""
