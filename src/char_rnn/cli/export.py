"""``char-rnn export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from char_rnn.cli.inputs import open_model
from char_rnn.cli.options import check_target, quiet_option
from char_rnn.cli.output import say

if TYPE_CHECKING:
    from char_rnn.model_file import ModelFile

ENDINGS = {"html": (".html", ".htm"), "onnx": (".onnx",), "torch": (".pt", ".pth")}


@click.command(name="export")
@click.argument("model")
@click.argument("out", required=False)
@click.option(
    "--format", "kind", type=click.Choice(list(ENDINGS)), help="Format of OUT (default: the format of its ending)."
)
@click.option("--title", metavar="TEXT", help="html: title of the page (default: the model's name).")
@click.option("--description", metavar="TEXT", help="html: sentence below the title.")
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
@quiet_option
def command(
    model: str, out: str | None, kind: str | None, title: str | None, description: str | None, force: bool, quiet: bool
) -> None:
    """Export a model to a file that works without char-rnn.

    MODEL is a run folder (its best model), a .safetensors file, a .t7 checkpoint of 2015, hf://USER/NAME, or demo.
    The default for OUT is the model's name, in the current folder.

    html: one page that runs the model in any browser, offline, also on a phone. In a blog, embed it with
    <iframe src="my-book.html?embed" sandbox="allow-scripts allow-popups"></iframe>. onnx: a graph for ONNX runtimes,
    with the state as input and output (needs the extra onnx). torch: a plain PyTorch state dict.

    \b
    Examples:
      char-rnn export runs/my-book --format html
      char-rnn export runs/my-book for-anna.html --title "My book" --description "It writes as I do."
      char-rnn export my-book.safetensors my-book.onnx
      char-rnn export cv/lm_lstm_epoch50.00_1.3572.t7 --format torch weights.pt
    """
    kind = kind or _kind_of(out)
    if kind != "html" and (title is not None or description is not None):
        raise click.UsageError("--title and --description need --format html")
    target = Path(_name_of(model) + ENDINGS[kind][0]) if out is None else Path(out)
    check_target(target, ENDINGS[kind], "OUT", force=force)
    file = open_model(model)
    note = _write(file, target, kind, title, description, _name_of(model))
    say(f"wrote {target} ({target.stat().st_size:,} bytes){note}", quiet=quiet)


def _kind_of(out: str | None) -> str:
    kind = next((kind for kind, endings in ENDINGS.items() if out and Path(out).suffix in endings), None)
    if kind is None:
        raise click.UsageError(f"give --format ({', '.join(ENDINGS)}), or an OUT that ends in .html, .onnx or .pt")
    return kind


def _name_of(model: str) -> str:
    """Return the name of a run folder, or of a file without its ending."""
    from char_rnn.utils.hub import Address, is_address
    from char_rnn.utils.model_files import BEST, LAST

    if is_address(model):
        return Address.parse(model).name
    path = Path(model).resolve()
    path = path.parent if path.name in (BEST, LAST) else path
    return (path.name if path.is_dir() else path.stem) or "model"


def _write(file: ModelFile, target: Path, kind: str, title: str | None, description: str | None, name: str) -> str:
    """Write the file, and return a remark about it."""
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
