"""An extra: how much of a text is copied from a corpus."""
