"""What the checkpoints of char-rnn and torch-rnn hold, as model files."""
