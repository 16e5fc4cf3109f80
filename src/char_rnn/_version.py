"""The version, where anything may import it from."""

__version__ = "1.1.0"
