"""``python scripts/convert_checkpoint.py`` is ``char-rnn convert``."""

import sys

from char_rnn.cli import main

main(["convert", *sys.argv[1:]])
