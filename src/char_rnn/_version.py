"""The version, where anything may import it from."""

__version__ = "1.0.0"
