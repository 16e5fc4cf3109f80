"""The Torch7 file format (.t7): bytes to tables, tensors and objects."""
