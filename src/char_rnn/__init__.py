"""Character-level language models: a text in, a model that writes like it out.

The names below are the public API. They are imported on first use, so that ``import char_rnn`` and
``char-rnn --help`` do not load PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from char_rnn._version import __version__

if TYPE_CHECKING:
    from char_rnn.api import train
    from char_rnn.data.corpus import Corpus, prepare_corpus
    from char_rnn.data.dataloader import CharDataset, create_dataloaders
    from char_rnn.data.vocabulary import Vocabulary
    from char_rnn.generation.text_generator import TextGenerator
    from char_rnn.model_file import ModelFile
    from char_rnn.models import CharGRU, CharLSTM, CharModel, CharRNN, build_model
    from char_rnn.training import CharRNNTrainer, evaluate
    from char_rnn.utils.config import Config, load_config
    from char_rnn.utils.device import DeviceManager

_HOMES = {
    "CharDataset": "data.dataloader",
    "CharGRU": "models",
    "CharLSTM": "models",
    "CharModel": "models",
    "CharRNN": "models",
    "CharRNNTrainer": "training",
    "Config": "utils.config",
    "Corpus": "data.corpus",
    "DeviceManager": "utils.device",
    "ModelFile": "model_file",
    "TextGenerator": "generation.text_generator",
    "Vocabulary": "data.vocabulary",
    "build_model": "models",
    "create_dataloaders": "data.dataloader",
    "evaluate": "training",
    "load_config": "utils.config",
    "prepare_corpus": "data.corpus",
    "train": "api",
}

__all__ = [
    "CharDataset",
    "CharGRU",
    "CharLSTM",
    "CharModel",
    "CharRNN",
    "CharRNNTrainer",
    "Config",
    "Corpus",
    "DeviceManager",
    "ModelFile",
    "TextGenerator",
    "Vocabulary",
    "__version__",
    "build_model",
    "create_dataloaders",
    "evaluate",
    "load_config",
    "prepare_corpus",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"char_rnn.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'char_rnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
