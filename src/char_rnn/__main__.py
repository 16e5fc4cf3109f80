"""``python -m char_rnn`` is the command ``char-rnn``."""

from char_rnn.cli import main

if __name__ == "__main__":
    main()
