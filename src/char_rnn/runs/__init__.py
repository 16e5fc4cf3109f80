"""Run folders, read without PyTorch: their contents, lists of runs, plots of their losses.

The constants name the files of a run folder, besides the models (``utils.model_files.BEST`` and ``LAST``).
"""

CONFIG, METRICS, SAMPLES = "config.yaml", "metrics.jsonl", "samples.jsonl"
STATE, TENSORBOARD, TRACKER = "training_state.safetensors", "tensorboard", "tracker.json"
SWEEP = "sweep.json"
"""File in the folder of a sweep, beside its run folders."""
