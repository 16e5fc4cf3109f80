"""Utilities without dependencies on other packages: configuration, device, files, locks, terminal."""
