"""Runs, seen from outside: what is in a run folder, lists of runs, pictures of their losses. No PyTorch.

What the files of a run folder are called, beside the models (``model_file.BEST`` and ``LAST``).
"""

CONFIG, METRICS, STATE, TENSORBOARD = "config.yaml", "metrics.jsonl", "training_state.safetensors", "tensorboard"
