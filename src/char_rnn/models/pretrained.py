"""Loading and saving a model by the conventions of huggingface_hub's ``PyTorchModelHubMixin``, without a dependency."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol, Self

import torch
from torch import nn

from char_rnn.models.quantization import read_from_8_bits
from char_rnn.utils.config import Config, ModelConfig
from char_rnn.utils.hub import MODEL, Address, fetch, is_repository, upload
from char_rnn.utils.model_files import (
    FORMAT,
    MAX_BYTES,
    PLAIN_VERSION,
    find_model,
    is_in_8_bits,
    read_config,
    read_tensors,
    write_configuration,
    write_tensors,
)

if TYPE_CHECKING:
    from char_rnn.cells import Cell


class Vocabulary(Protocol):
    """A vocabulary (`char_rnn.Vocabulary`)."""

    def to_dict(self) -> dict[str, Any]:
        """Return it in JSON types."""


class Pretrained(nn.Module):
    """Methods of a model that load and save it."""

    cell: Cell
    config: ModelConfig
    """Section ``model`` of a configuration of this model."""
    _metadata: dict[str, str] | None = None

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        map_location: torch.device | str = "cpu",
        **options: Any,
    ) -> Self:
        """Return a saved model in evaluation mode; :meth:`torch.nn.Module.train` prepares it for training.

        Args:
            pretrained_model_name_or_path: ``USER/NAME`` on the Hub; or a model file, or a folder with one (a run
                folder, or that of `save_pretrained`).
            revision: Branch, tag or commit of a model on the Hub.
            map_location: Device of the model.
            **options: ``token``, ``cache_dir``, ``force_download`` and ``local_files_only`` of ``hf_hub_download``.

        Raises:
            ValueError: The file is not a model file, is damaged, or has a model of another class.
            OSError: There is no such file, or it cannot be read or downloaded.
        """
        from char_rnn.models.build import build_model

        name = pretrained_model_name_or_path
        if is_repository(name):
            address = Address.parse(name)._replace(**({"revision": revision} if revision else {}))
            path = fetch(address, MAX_BYTES, **options)
        else:
            path = find_model(name)
        tensors, metadata = read_tensors(path)
        config = read_config(path, metadata)
        if is_in_8_bits(metadata):
            tensors = read_from_8_bits(path, tensors)
        size = tensors["output_proj.bias"].size if "output_proj.bias" in tensors else 0
        model = build_model(config.model, size, tensors)
        if not isinstance(model, cls):
            message = f"{name}: a model with the cell {config.model.type}, not a {cls.__name__}; use CharModel"
            raise ValueError(message)  # noqa: TRY004 (of the file, not of an argument's type)
        model._metadata = metadata
        return model.to(map_location).eval()

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        vocabulary: Vocabulary | None = None,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        **options: Any,
    ) -> str | None:
        """Write ``model.safetensors`` and ``config.json`` into a folder, for `from_pretrained` and all commands.

        The rest of the configuration and the vocabulary are those of the file that the model was loaded from. Facts
        about the training are left out, as the weights may have changed.

        Args:
            save_directory: Folder, which is made if it is missing.
            vocabulary: Symbols of a model that was not loaded from a file; commands cannot read a file without them.
            repo_id: USER/NAME, or NAME for your own account, to push to (default: the name of the folder).
            push_to_hub: Whether to push the model to the Hub too.
            **options: Further arguments of `push_to_hub`.

        Returns:
            The address of the model in a browser, if it was pushed.
        """
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        self._write(folder, self._header(vocabulary))
        return self.push_to_hub(repo_id or folder.name, vocabulary=vocabulary, **options) if push_to_hub else None

    def push_to_hub(
        self,
        repo_id: str,
        *,
        vocabulary: Vocabulary | None = None,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | None = None,
    ) -> str:
        """Push ``model.safetensors`` and ``config.json`` to the Hub, and return the model's address in a browser.

        The primes that the model suggests, line beginnings of its training text, are left out. ``char-rnn push`` also
        writes a model card. Arguments are those of `save_pretrained` and of the mixin.

        Raises:
            HubError: The Hub refuses it or cannot be reached.
        """
        with TemporaryDirectory() as folder:
            header = self._header(vocabulary)
            config = json.loads(header["config"])
            config.get("generation", {}).pop("suggested_primes", None)
            self._write(Path(folder), {**header, "config": json.dumps(config)})
            return upload(Path(folder), Address(repo_id), private=private, message=commit_message, token=token)

    def _write(self, folder: Path, metadata: Mapping[str, str]) -> None:
        """Write the files of `save_pretrained`."""
        arrays = {
            name: (tensor if tensor.dtype == torch.float64 else tensor.float()).cpu().numpy()
            for name, tensor in self.state_dict().items()
        }
        write_tensors(folder / MODEL, arrays, metadata)
        write_configuration(folder, json.loads(metadata["config"]))

    def _header(self, vocabulary: Vocabulary | None) -> dict[str, str]:
        """Return the metadata of the model's file."""
        if self._metadata is None:
            config = json.dumps(Config(model=self.config).model_dump(mode="json"))
            metadata = {"format": FORMAT, "config": config}
        else:
            metadata = {name: text for name, text in self._metadata.items() if name != "training"}
        if vocabulary is not None:
            metadata["vocabulary"] = json.dumps(vocabulary.to_dict())
        return {**metadata, "format_version": str(PLAIN_VERSION)}
