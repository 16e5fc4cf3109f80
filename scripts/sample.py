"""``python scripts/sample.py`` is the sample.lua of 2015: ``char-rnn sample --torch7``."""

import sys

from char_rnn.cli import main

main(["sample", "--torch7", *sys.argv[1:]])
