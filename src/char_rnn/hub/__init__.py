"""An extra: what is pushed to the Hub."""
