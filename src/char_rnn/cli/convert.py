"""``char-rnn convert``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from char_rnn.cli.inputs import open_model
from char_rnn.cli.options import check_target, debug_option, quiet_option
from char_rnn.cli.output import say

if TYPE_CHECKING:
    from char_rnn.model_file import ModelFile


@click.command(name="convert")
@click.argument("old")
@click.argument("new")
@click.option("--force", is_flag=True, help="Replace NEW if it exists.")
@quiet_option
@debug_option
def command(old: str, new: str, force: bool, quiet: bool) -> None:
    """Convert a checkpoint of 2015 to a model file.

    OLD is a .t7 file that char-rnn or torch-rnn wrote with Torch7, on a CPU or a GPU. It may also be a run folder or a
    .safetensors file. NEW must end in .safetensors. Weights keep their precision. The options and losses of the run are
    copied (see `char-rnn inspect NEW`), with paths shortened to their last part. All other commands read .t7 files too.

    \b
    Examples:
      char-rnn convert cv/lm_lstm_epoch50.00_1.3572.t7 shakespeare.safetensors
      char-rnn convert runs/my-book my-book.safetensors
    """
    target = Path(new)
    check_target(target, (".safetensors",), "NEW", force=force)
    file = open_model(old)
    file.without_paths().write(target)
    say(f"{old} ({_origin(file)}) -> {new}: {_contents(file)}", quiet=quiet)


def _origin(file: ModelFile) -> str:
    names = {"torch7": "char-rnn of 2015", "torch_rnn": "torch-rnn"}
    return next((name for fact, name in names.items() if fact in file.training), "char-rnn")


def _contents(file: ModelFile) -> str:
    model = file.config.model
    parameters = sum(tensor.size for tensor in file.tensors.values())
    kinds = ", ".join(sorted({tensor.dtype.name for tensor in file.tensors.values()}))
    return (
        f"{model.num_layers}-layer {model.type} with {model.hidden_size} units, {parameters:,} parameters ({kinds}), "
        f"vocabulary of {file.vocabulary.size} {file.vocabulary.kind}"
    )
