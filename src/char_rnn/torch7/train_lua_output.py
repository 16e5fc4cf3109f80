"""The lines that ``train.lua`` prints, for scripts that read them and for users who know them."""

from __future__ import annotations

from pathlib import Path

from char_rnn.data.corpus import SPLITS
from char_rnn.torch7.trainer import Torch7Trainer
from char_rnn.training import Callback, CharRNNTrainer


class TrainLuaLines(Callback):
    """Prints the lines of ``train.lua``; a step's line has the same numbers in the same format."""

    def on_start(self, trainer: CharRNNTrainer) -> None:
        """Write the lines about the text and the model."""
        model = trainer.config.model
        self._batch = trainer.train_batches.batch_size * trainer.train_batches.seq_length
        counts = {name: len(trainer.dataloaders.get(name, ())) for name in SPLITS}
        self._write("loading data files...")
        self._write("cutting off end of data so that the batches/sequences divide evenly")
        self._write("reshaping tensor...")
        if sum(counts.values()) < 50:
            self._write("WARNING: less than 50 batches in the data; try a smaller batch_size or seq_length")
        listed = ", ".join(f"{name}: {count}" for name, count in counts.items())
        self._write(f"data load done. Number of data batches in {listed}")
        self._write(f"vocab size: {trainer.model.vocab_size}")
        made = f"an {model.type} with {model.num_layers} layers"
        origin = trainer.checkpoints.metadata.get("init_from")
        if trainer.step:
            self._write(f"continuing after iteration {trainer.step} of {made}")
        else:
            self._write(f"loading {origin}, {made}" if origin else f"creating {made}")
        if model.type == "lstm" and not trainer.step:
            for layer in range(1, model.num_layers + 1):
                self._write(f"setting forget gate biases to 1 in LSTM layer {layer}")
        parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
        self._write(f"number of parameters in the model: {parameters}")

    def on_evaluating(self, split: str, done: int, total: int) -> None:
        """Write the progress of the validation, in batches."""
        self._write(
            f"{done // self._batch}/{total // self._batch}..." if done else "evaluating loss over split index 2"
        )

    def on_checkpoint(self, path: Path) -> None:
        """Write the path of the checkpoint."""
        self._write(f"saving checkpoint to {path}")

    def on_step(self, trainer: CharRNNTrainer, loss: float) -> None:
        """Write the step's line."""
        assert isinstance(trainer, Torch7Trainer)
        step, total = trainer.step, trainer.total_steps
        if step % trainer.config.logging.log_interval == 0:
            epoch, ratio, seconds = step / len(trainer.train_batches), trainer.norm_ratio(), trainer.step_seconds
            self._write(
                f"{step}/{total} (epoch {epoch:.3f}), train_loss = {loss:6.8f}, "
                f"grad/param norm = {ratio:6.4e}, time/batch = {seconds:.4f}s"
            )

    def _write(self, line: str) -> None:
        print(line, flush=True)
