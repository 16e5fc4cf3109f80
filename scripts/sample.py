"""``python scripts/sample.py`` is ``char-rnn sample``."""

import sys

from char_rnn.cli import main

main(["sample", *sys.argv[1:]])
