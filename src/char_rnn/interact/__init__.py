"""An extra: a person and a model write a text in turn, in the terminal."""
