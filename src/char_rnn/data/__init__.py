"""From a text to batches: vocabularies, named data sets, prepared corpora, their splits and batches."""
