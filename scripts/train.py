"""``python scripts/train.py`` is ``char-rnn train``."""

import sys

from char_rnn.cli import main

main(["train", *sys.argv[1:]])
