"""Run folders, read without PyTorch: their contents, lists of runs, plots of their losses.

The constants name the files of a run folder, besides the models (``utils.model_files.BEST`` and ``LAST``).
"""

CONFIG, METRICS, SAMPLES = "config.yaml", "metrics.jsonl", "samples.jsonl"
STATE, TENSORBOARD = "training_state.safetensors", "tensorboard"
