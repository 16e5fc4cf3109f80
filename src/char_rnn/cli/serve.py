"""``char-rnn serve``."""

from __future__ import annotations

import logging
import os
import signal
import threading
import webbrowser
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from char_rnn.cli.inputs import foreign_text, open_model, read_text
from char_rnn.cli.learning import check_learning, learn_options, learner_of
from char_rnn.cli.options import quiet_option
from char_rnn.cli.output import say
from char_rnn.utils.files import check_is_path
from char_rnn.utils.signals import stopping_at_signals

if TYPE_CHECKING:
    from char_rnn.generation.network import Precision
    from char_rnn.model_file import ModelFile
    from char_rnn.playground.training_text import TrainingText

PACKAGES = ("prometheus_client", "sse_starlette", "starlette", "uvicorn")
INSTALL = 'pip install "char-rnn-pytorch[playground]"'
LOCAL = ("127.0.0.1", "localhost", "::1")


@click.command(name="serve")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8015, help="Port to listen on; 0 takes a free one.")
@click.option(
    "--max-length", type=click.IntRange(min=1), default=10_000, help="Largest number of characters in one request."
)
@click.option(
    "--max-streams",
    type=click.IntRange(1, 1024),
    default=32,
    help="Largest number of texts that a model generates at the same time.",
)
@click.option("--threads", type=click.IntRange(min=1), default=1, help="CPU threads for each model.")
@click.option(
    "--precision",
    type=click.Choice(["float64", "float32", "bfloat16", "int8"]),
    default="float32",
    help="Number type of the computation; bfloat16 and int8 apply to the weights only.",
)
@click.option(
    "--api-key",
    envvar="CHAR_RNN_API_KEY",
    metavar="KEY",
    help="Key that all clients must send; the environment variable CHAR_RNN_API_KEY is safer.",
)
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Origin of web pages that may use the server or embed its page, such as https://chat.example.org; repeatable.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Another host name that clients may use for this machine, such as host.docker.internal; repeatable.",
)
@click.option(
    "--text", "texts", multiple=True, metavar="FILE", help="Training text, to underline what a text copies; repeatable."
)
@click.option("--encoding", help="Encoding of --text (default: that of the training text).")
@learn_options
@click.option("--open", "open_page", is_flag=True, help="Open the page in a browser.")
@quiet_option
def command(
    models: tuple[str, ...],
    host: str,
    port: int,
    max_length: int,
    max_streams: int,
    threads: int,
    precision: Precision,
    api_key: str | None,
    origins: tuple[str, ...],
    hosts: tuple[str, ...],
    texts: tuple[str, ...],
    encoding: str | None,
    learn: bool,
    learn_rate: float | None,
    open_page: bool,
    quiet: bool,
) -> None:
    """Serve the playground, a page that generates text with one or more models and shows their predictions.

    MODEL is a run folder (its best model, reloaded while the run trains), a .safetensors file, a .t7 checkpoint of
    2015, or hf://USER/NAME (default: demo, the small model that is part of char-rnn). With --text, the page underlines
    what the models copy from their training text; several files are joined, as for `char-rnn train`. The page needs no
    internet access. Other programs can use the API under /api, or the OpenAI-compatible one under /v1. Only this
    machine can reach the server, unless --host is given; --api-key sets a password. The address is printed to standard
    output, also with --quiet. Press Ctrl-C to stop.

    With --learn, the page has a switch with which a copy of the model learns from the words that a visitor writes. The
    served models and the texts of other visitors do not change.

    \b
    Examples:
      char-rnn serve --open
      char-rnn serve runs/my-book
      char-rnn serve runs/small runs/large --open
      char-rnn serve runs/my-book --text my-book.txt
      char-rnn serve runs/my-book --learn --open
      char-rnn serve runs/still-training --open
      char-rnn serve names.safetensors --port 9000 --max-streams 64 --precision bfloat16
      char-rnn serve runs/my-book --allow-origin https://chat.example.org
    """
    if encoding is not None and not texts:
        raise click.UsageError("--encoding needs --text: add it, or leave out --encoding")
    compute_with(threads)
    check_learning(learn, learn_rate=learn_rate)
    check_installed()
    from char_rnn.playground.access import Access
    from char_rnn.playground.schema import Limits
    from char_rnn.playground.served_model import model_names
    from char_rnn.playground.server import Server, address_in_network, address_of, bind, create_app
    from char_rnn.utils.model_files import DEMO

    logging.getLogger("char_rnn").setLevel(logging.ERROR)  # substitutions in a prime are reported in the response
    try:
        access = Access(api_key, origins, hosts)
    except ValueError as error:
        raise click.UsageError(f"--{error}") from None
    models = models or (DEMO,)
    files = dict(zip(model_names(models), map(model_or_run, models), strict=True))
    limits = Limits(length=max_length, streams=max_streams)
    known = _training_texts(files, texts, encoding, quiet) if texts else {}
    learner = partial(learner_of, rate=learn_rate) if learn else None
    options: Any = {"limits": limits, "precision": precision, "threads": threads, "texts": known, "learner": learner}
    app = create_app(files, host=host, access=access, **options)
    with bind(host, port) as bound:
        address = address_of(bound)

        def started() -> None:
            say(f"serving {', '.join(files)} (press Ctrl-C to stop) at", quiet=quiet)
            click.echo(address)
            if elsewhere := address_in_network(bound):
                say(f"from other machines: {elsewhere}", quiet=quiet)
            if host not in LOCAL and api_key is None:
                say(f"there is no password: anyone who can reach {host} can use it", quiet=quiet)
            if open_page:
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

        server = Server(app, started)
        with stopping_at_signals(server.end, quiet=True) as received:
            server.run(sockets=[bound])
    if signal.SIGINT in received:
        raise KeyboardInterrupt
    raise Exit(128 + received[0] if received else 0)


def model_or_run(model: str) -> ModelFile | Path:
    """Return the path of a run folder, or else the model itself."""
    path = check_is_path(model)
    return path if path.is_dir() else open_model(path)


def _training_texts(
    files: Mapping[str, ModelFile | Path], texts: tuple[str, ...], encoding: str | None, quiet: bool
) -> dict[str, TrainingText]:
    """Return the text that each model was trained on: its training split, or all of another text."""
    from char_rnn.model_file import ModelHeader
    from char_rnn.novelty.novelty import copied_stretches
    from char_rnn.playground.training_text import TrainingText

    known = {}
    for name, given in files.items():
        file = ModelHeader.read(given) if isinstance(given, Path) else given
        data = file.config.data
        corpus = read_text(texts, file, encoding, quiet)
        if remark := foreign_text(name, file, corpus):
            say(f"{remark}; the whole text is searched", quiet=quiet)
        part = corpus.split("all" if remark else "train", data.train_frac, data.val_frac)
        known[name] = TrainingText(corpus.name, partial(copied_stretches, part.ids, corpus.vocabulary))
    return known


def check_installed() -> None:
    """Raise a ``ClickException`` if a package of the extra playground is missing."""
    for package in PACKAGES:
        if find_spec(package) is None:
            raise click.ClickException(f"the playground needs {package}, which is not installed; run: {INSTALL}")


def compute_with(threads: int) -> None:
    """Set the number of threads of NumPy's BLAS, which reads it when NumPy is imported."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ[variable] = str(threads)
