"""``python scripts/train.py`` is the train.lua of 2015: ``char-rnn train --torch7``."""

import sys

from char_rnn.cli import main

main(["train", "--torch7", *sys.argv[1:]])
