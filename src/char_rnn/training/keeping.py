"""What a run keeps of its model: the best, the last, some on the way, and all that is needed to go on."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from char_rnn.model_file import BEST, LAST, ModelFile, ModelFileError, ModelHeader
from char_rnn.models import CharModel
from char_rnn.runs import STATE
from char_rnn.training.checkpoints import write_state
from char_rnn.utils.terminal import quoted

if TYPE_CHECKING:
    from char_rnn.data.vocabulary import Vocabulary
    from char_rnn.utils.config import Config

_logger = logging.getLogger("char_rnn")


def saved_model(run: Path) -> ModelHeader:
    """Read what a run says in its last model; where that cannot be read, with a warning, in its best.

    Raises:
        ModelFileError, OSError: neither can be read.
    """
    try:
        return ModelHeader.read(run / LAST)
    except (ModelFileError, OSError) as error:
        if not (run / BEST).exists():
            raise
        _logger.warning("%s; read %s in its place, the next checkpoint writes it again", error, BEST)
        return ModelHeader.read(run / BEST)


class CheckpointWriter:
    """Writes a run's model files and training state; without a folder it keeps the best model in memory.

    A file that cannot be written (a full disk, a folder without permission) raises an ``OSError`` that says what is
    still there; the file that was in its place stays.

    Args:
        run_dir: the run's folder, which must exist; without one nothing is written.
        vocabulary: the symbols of the ids; needed to write model files.
        metadata: what else to tell in the model files.
        most: how many of the models on the way stay.

    Attributes:
        best_loss, best_step: the lowest validation loss so far, in nats per character, and where it was reached;
            infinite and 0 before the first.
        last_saved: the step of the last training state on the disk, None before the first.
    """

    def __init__(
        self, run_dir: Path | None, vocabulary: Vocabulary | None, metadata: Mapping[str, Any], most: int = 0
    ) -> None:
        if run_dir is not None and vocabulary is None:
            raise ValueError("a trainer that writes a run folder needs the vocabulary")
        self.run_dir, self.vocabulary, self.metadata, self.most = run_dir, vocabulary, dict(metadata), most
        self.best_loss, self.best_step = math.inf, 0
        self.last_saved: int | None = None
        self._best: dict[str, torch.Tensor] = {}
        self._holds_best = False

    def write_model(self, path: str | Path, model: CharModel, config: Config, position: Mapping[str, float]) -> Path:
        """Write the model as it is now to a self-contained model file."""
        if self.vocabulary is None:
            raise ValueError("a model file needs the vocabulary: give it to the trainer")
        tensors = {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}
        metadata = {**self.metadata, **position}
        if math.isfinite(self.best_loss):
            metadata |= {"best_val_loss": self.best_loss, "best_step": self.best_step}
        if self._holds_best:
            metadata["step"] = self.best_step
        return ModelFile(config, self.vocabulary, tensors, metadata).without_paths().write(path)

    def save(
        self,
        model: CharModel,
        config: Config,
        position: Mapping[str, float],
        state: tuple[Mapping[str, torch.Tensor], Mapping[str, Any]],
    ) -> None:
        """Write the last model and the training state, each in one step; nothing without a folder."""
        if self.run_dir is not None:
            with self._saying_what_is_kept(position):
                self.write_model(self.run_dir / LAST, model, config, position)
                write_state(self.run_dir / STATE, *state)
        self.last_saved = int(position["step"])

    def keep_on_the_way(self, model: CharModel, config: Config, position: Mapping[str, float]) -> None:
        """Write the model as that of its step, and remove the oldest of such files beyond ``most``."""
        if self.run_dir is None or not self.most:
            return
        with self._saying_what_is_kept(position):
            self.write_model(self.run_dir / f"step-{int(position['step']):08d}.safetensors", model, config, position)
        for old in sorted(self.run_dir.glob("step-*.safetensors"))[: -self.most]:
            old.unlink(missing_ok=True)

    def keep_best(self, loss: float, model: CharModel, config: Config, position: Mapping[str, float]) -> None:
        """Keep the model as the best, whose validation loss is given."""
        self.best_loss, self.best_step = loss, int(position["step"])
        if self.run_dir is not None:
            with self._saying_what_is_kept(position):
                self.write_model(self.run_dir / BEST, model, config, position)
        else:
            self._best = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    def load_best(self, model: CharModel, step: int) -> None:
        """Put the best parameters into the model of ``step``; where none is known to be better, the last ones stay."""
        if self.best_step in {0, step}:
            return
        if self.run_dir is not None:
            arrays = ModelFile.read(self.run_dir / BEST).tensors
            self._best = {name: torch.from_numpy(array) for name, array in arrays.items()}
        model.load_state_dict(self._best)
        self._holds_best = True

    def best_is_lost(self) -> bool:
        """Whether the best model so far cannot be read; a warning says why."""
        if self.run_dir is None or not self.best_step:
            return False
        try:
            ModelHeader.read(self.run_dir / BEST)
        except (ModelFileError, OSError) as error:
            _logger.warning("%s; the best model so far is lost, the best of what follows takes its place", error)
            return True
        return False

    def forget_best(self) -> None:
        """Let the next evaluation be the best so far."""
        self.best_loss, self.best_step = math.inf, 0

    @contextmanager
    def _saying_what_is_kept(self, position: Mapping[str, float]) -> Iterator[None]:
        """Say, of a file that cannot be written, which step it is of, what is still there, and how to go on."""
        try:
            yield
        except OSError as error:
            again = f"--resume {quoted(self.run_dir or '')}"
            raise OSError(
                f"the checkpoint of step {int(position['step']):,} could not be written to {self.run_dir}"
                f" ({error.strerror or error}); {self.kept()}. When that is mended, go on with {again}"
            ) from error

    def kept(self) -> str:
        """Say what a run that fails now leaves behind."""
        if not self.last_saved or self.run_dir is None:
            return "nothing was saved yet"
        return f"the model of step {self.last_saved} is kept in {self.run_dir}"
