"""``char-rnn export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from char_rnn.cli.models import open_model
from char_rnn.cli.options import check_target, debug_option, quiet_option, say

if TYPE_CHECKING:
    from char_rnn.model_file import ModelFile

ENDINGS = {"html": (".html", ".htm"), "onnx": (".onnx",), "torch": (".pt", ".pth")}


@click.command(name="export")
@click.argument("model")
@click.argument("out", required=False)
@click.option(
    "--format",
    "kind",
    type=click.Choice(list(ENDINGS)),
    help="What to make of the model; what OUT ends in says it when not given.",
)
@click.option("--title", metavar="TEXT", help="html: the page's title; the model's name when not given.")
@click.option("--description", metavar="TEXT", help="html: a sentence beneath the title.")
@click.option("--force", is_flag=True, help="Replace OUT if it is there already.")
@quiet_option
@debug_option
def command(
    model: str,
    out: str | None,
    kind: str | None,
    title: str | None,
    description: str | None,
    force: bool,
    quiet: bool,
) -> None:
    """Make a file of a model that runs without char-rnn.

    MODEL is a run folder (its best model), a .safetensors file, or a .t7 checkpoint of 2015. Without OUT the file is
    called as the model is, and written to the present folder.

    html: one page that runs the model in any browser, from disk, on a phone, without a network. onnx: a graph for ONNX
    runtimes, with the state in and out (needs the extra onnx). torch: a plain PyTorch state dict.

    \b
    Examples:
      char-rnn export runs/my-book --format html
      char-rnn export runs/my-book for-anna.html --title "My book" --description "It writes as I do."
      char-rnn export my-book.safetensors my-book.onnx
      char-rnn export cv/lm_lstm_epoch50.00_1.3572.t7 --format torch weights.pt
    """
    kind = kind or _kind_of(out)
    if kind != "html" and (title is not None or description is not None):
        raise click.UsageError("--title and --description are words of a page; give them with --format html")
    target = Path(_name_of(model) + ENDINGS[kind][0]) if out is None else Path(out)
    check_target(target, ENDINGS[kind], "OUT", force=force)
    file = open_model(model)
    note = _write(file, target, kind, title, description, _name_of(model))
    say(f"wrote {target} ({target.stat().st_size:,} bytes){note}", quiet=quiet)


def _kind_of(out: str | None) -> str:
    kind = next((kind for kind, endings in ENDINGS.items() if out and Path(out).suffix in endings), None)
    if kind is None:
        raise click.UsageError(f"give --format ({', '.join(ENDINGS)}), or a name for OUT that ends in one's ending")
    return kind


def _name_of(model: str) -> str:
    """The name of a run folder, or of another file without its ending."""
    from char_rnn.model_file import BEST, LAST

    path = Path(model).resolve()
    path = path.parent if path.name in (BEST, LAST) else path
    return (path.name if path.is_dir() else path.stem) or "model"


def _write(file: ModelFile, target: Path, kind: str, title: str | None, description: str | None, name: str) -> str:
    """Write the file, and return what else is to be said of it."""
    if kind == "html":
        from char_rnn.export.html_page import Words, write_page

        write_page(file, target, Words(name, title or "", description or ""))
    elif kind == "onnx":
        from char_rnn.export.onnx_model import write_onnx

        write_onnx(file, target)
    else:
        from char_rnn.export.state_dict import loaded_by, write_state_dict

        write_state_dict(file, target)
        return f"; it loads into {loaded_by(file.config.model, file.vocabulary.size)}"
    return ""
