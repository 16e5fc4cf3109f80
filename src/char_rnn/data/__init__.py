"""Texts: found, read, encoded, cached, split and batched."""


class DataError(ValueError):
    """A text cannot be found, read, prepared, split or batched; the message is one line and says what to do."""


class TextNotFoundError(DataError, FileNotFoundError):
    """There is no data set, file or folder of that name."""
