"""Configurations with a mistake in each, and what is said of it."""

from __future__ import annotations

from char_rnn.cells import BUILT_IN

CELLS = ", ".join(BUILT_IN)
COUNT = "must be a whole number from 1 to 1,000,000,000, or auto"


HORIZONS = "must be null or pairs [step, end], steps rising from 0, each end after its step"


FILES = {
    "unknown key": (
        "training:\n  seed: 1\n  learning_rte: 1\n",
        ":3: training.learning_rte: unknown key; did you mean learning_rate?",
    ),
    "key of another section": (
        "model:\n  batch_size: 5\n",
        ":2: model.batch_size: unknown key; did you mean training.batch_size?",
    ),
    "key like no other": (
        "device:\n  zzz: 5\n",
        ":2: device.zzz: unknown key; known: auto_detect, preferred, fallback, threads",
    ),
    "unknown section": ("\ntrainig:\n  seed: 1\n", ":2: trainig: unknown section; did you mean training?"),
    "key without its section": (
        "batch_size: 5\n",
        ":1: batch_size: unknown section; did you mean training.batch_size?",
    ),
    "key of two sections": (
        "seed: 5\n",
        ":1: seed: unknown section; did you mean training.seed or generation.seed?",
    ),
    "section like no other": (
        "zzz: 5\n",
        ":1: zzz: unknown section; known: model, training, data, generation, logging, device",
    ),
    "section that is no mapping": ("model: lstm\n", ":1: model: must be a mapping of keys; given 'lstm'"),
    "section that is a list": ("model: [lstm]\n", ":1: model: must be a mapping of keys; given ['lstm']"),
    "list of sections": ("- model\n", ":1: must be sections with keys, such as 'training:'; given ['model']"),
    "text alone": ("hello\n", ":1: must be sections with keys, such as 'training:'; given 'hello'"),
    "nearly a choice": (
        "model:\n  type: lsmt\n",
        f":2: model.type: must be one of {CELLS}; given 'lsmt'; did you mean lstm?",
    ),
    "no choice": ("data:\n  vocabulary: 5\n", ":2: data.vocabulary: must be one of characters, bytes; given 5"),
    "a cell that nothing defines": (
        "model:\n  type: peephole\n",
        f":2: model.type: must be one of {CELLS}; given 'peephole'; to use a cell of your own, import its module first",
    ),
    "choice of another case": (
        "model:\n  type: LSTM\n",
        f":2: model.type: must be one of {CELLS}; given 'LSTM'; did you mean lstm?",
    ),
    "zero": ("training:\n  batch_size: 0\n", f":2: training.batch_size: {COUNT}; given 0"),
    "negative": ("training:\n  batch_size: -5\n", f":2: training.batch_size: {COUNT}; given -5"),
    "huge": ("training: {batch_size: 1e20}\n", f":1: training.batch_size: {COUNT}; given 100000000000000000000"),
    "fraction": ("training:\n  batch_size: 2.5\n", f":2: training.batch_size: {COUNT}; given 2.5"),
    "boolean for a number": ("training:\n  batch_size: yes\n", f":2: training.batch_size: {COUNT}; given true"),
    "text for a number": ("training:\n  batch_size: many\n", f":2: training.batch_size: {COUNT}; given 'many'"),
    "quoted number": ('training:\n  batch_size: "5"\n', f":2: training.batch_size: {COUNT}; given '5'"),
    "null for a number": ("training:\n  batch_size:\n", f":2: training.batch_size: {COUNT}; given null"),
    "list for a number": ("training:\n  batch_size: [5]\n", f":2: training.batch_size: {COUNT}; given [5]"),
    "mapping for a number": (
        "training:\n  batch_size: {a: 1}\n",
        f":2: training.batch_size: {COUNT}; given {{'a': 1}}",
    ),
    "date for a number": (
        "training:\n  batch_size: 2015-01-01\n",
        f":2: training.batch_size: {COUNT}; given '2015-01-01'",
    ),
    "boolean for a float": (
        "model:\n  dropout: false\n",
        ":2: model.dropout: must be a number from 0 to below 1; given false",
    ),
    "upper end": ("model:\n  dropout: 1.0\n", ":2: model.dropout: must be a number from 0 to below 1; given 1.0"),
    "not a number": (
        "training:\n  learning_rate: .nan\n",
        ":2: training.learning_rate: must be a number more than 0; given nan",
    ),
    "infinite": (
        "training:\n  grad_clip: .inf\n",
        ":2: training.grad_clip: must be a number, 0 or more; given inf",
    ),
    "number for a boolean": (
        "device:\n  fallback: 1\n",
        ":2: device.fallback: must be true or false; given 1",
    ),
    "optional number": (
        "generation:\n  top_k: 0\n",
        ":2: generation.top_k: must be a whole number from 1 to 1,000,000,000, or null; given 0",
    ),
    "nucleus": (
        "generation:\n  top_p: 1.5\n",
        ":2: generation.top_p: must be a number more than 0 and at most 1, or null; given 1.5",
    ),
    "three betas": (
        "training:\n  adam_betas: [0.9, 0.99, 0.999]\n",
        ":2: training.adam_betas: must be two numbers, each from 0 to below 1; given [0.9, 0.99, 0.999]",
    ),
    "beta of 1": (
        "training:\n  adam_betas: [0.9, 1]\n",
        ":2: training.adam_betas: must be two numbers, each from 0 to below 1; given [0.9, 1]",
    ),
    "horizons that go back": (
        "training:\n  horizons: [[5, 9], [1, 9]]\n",
        f":2: training.horizons: {HORIZONS}; given [[5, 9], [1, 9]]",
    ),
    "a horizon behind its step": (
        "training:\n  horizons: [[5, 5]]\n",
        f":2: training.horizons: {HORIZONS}; given [[5, 5]]",
    ),
    "a horizon that is no pair": (
        "training:\n  horizons: [[0, 5, 9]]\n",
        f":2: training.horizons: {HORIZONS}; given [[0, 5, 9]]",
    ),
    "minutes and horizons": (
        "training:\n  minutes: 3\n  horizons: [[0, 5]]\n",
        ":3: training.minutes 3.0 plans a new schedule, but training.horizons contains one; set one of them to null",
    ),
    "all of it smoothed": (
        "training:\n  label_smoothing: 1\n",
        ":2: training.label_smoothing: must be a number from 0 to below 1; given 1",
    ),
    "activations that are to grow": (
        "training:\n  activation_regularization: -2\n",
        ":2: training.activation_regularization: must be a number, 0 or more; given -2",
    ),
    "an average of the first alone": (
        "training:\n  averaging_decay: 1\n",
        ":2: training.averaging_decay: must be a number from 0 to below 1; given 1",
    ),
    "random segments, removed": (
        "training:\n  random_segments: true\n",
        ":2: training.random_segments: was removed in version 1.1; delete it; training.seq_length alone gives the same"
        " loss",
    ),
    "nt-asgd, removed": (
        "training:\n  averaging: nt-asgd\n",
        ":2: training.averaging: nt-asgd was removed in version 1.1; set training.averaging to polyak with"
        " training.averaging_start",
    ),
    "guard below 1": (
        "training:\n  explosion_factor: 0.5\n",
        ":2: training.explosion_factor: must be 0 or a number more than 1; given 0.5",
    ),
    "empty path": ('data:\n  data_dir: ""\n', ":2: data.data_dir: must be a path or name, or a list of them; given ''"),
    "number in a list of texts": (
        "data:\n  data_dir: [a, 3]\n",
        ":2: data.data_dir: must be a path or name, or a list of them; given ['a', 3]",
    ),
    "list for a text": ("data:\n  cache_dir: [a]\n", ":2: data.cache_dir: must be a path or null; given ['a']"),
    "unknown encoding": (
        "data:\n  encoding: utf9\n",
        ":2: data.encoding: must be a text encoding that Python knows, such as utf-8 or latin-1; given 'utf9'",
    ),
    "encoding of no text": (
        "data:\n  encoding: rot13\n",
        ":2: data.encoding: must be a text encoding that Python knows, such as utf-8 or latin-1; given 'rot13'",
    ),
    "half a character": (
        'generation:\n  prime: "\\ud800"\n',
        ":2: generation.prime: must be Unicode text without surrogates; given '\\ud800'",
    ),
    "an empty suggestion": (
        'generation:\n  suggested_primes: ["The ", ""]\n',
        ":2: generation.suggested_primes: must be null or a list of at most 8 texts of 1 to 100 characters;"
        " given ['The ', '']",
    ),
    "nine suggestions": (
        "generation:\n  suggested_primes: [a, b, c, d, e, f, g, h, i]\n",
        ":2: generation.suggested_primes: must be null or a list of at most 8 texts of 1 to 100 characters;"
        " given ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i']",
    ),
    "half a character in a suggestion": (
        'generation:\n  suggested_primes: ["\\udc00"]\n',
        ":2: generation.suggested_primes: must be null or a list of at most 8 texts of 1 to 100 characters;"
        " given ['\\udc00']",
    ),
    "fractions": (
        "data:\n  train_frac: 0.9\n  val_frac: 0.2\n  encoding: ascii\n",
        ":3: data.train_frac 0.9 and data.val_frac 0.2 add up to 1.1; together they must be at most 1",
    ),
    "fraction against a default": (
        "data:\n  train_frac: 0.99\n",
        ":2: data.train_frac 0.99 and data.val_frac 0.05 add up to 1.04; together they must be at most 1",
    ),
    "one-hot of a size": (
        "model:\n  embedding: one-hot\n  embedding_size: 8\n",
        ":3: model.embedding_size is 8, but one-hot vectors have the vocabulary's size;"
        " set model.embedding_size to null or model.embedding to learned",
    ),
    "tied to nothing": (
        "model:\n  embedding: one-hot\n  tie_weights: true\n",
        ":3: model.tie_weights shares the embedding, but one-hot vectors are not learned;"
        " set model.tie_weights to false or model.embedding to learned",
    ),
    "tied to another length": (
        "model:\n  tie_weights: true\n  embedding_size: 8\n",
        ":3: model.embedding_size is 8, but a tied embedding has the size of model.hidden_size, 128;"
        " set model.embedding_size to null or model.tie_weights to false",
    ),
    "heads that do not fit": (
        "model:\n  attention: top\n  attention_heads: 3\n",
        ":3: model.attention_heads 3 does not divide model.hidden_size 128; give a divisor of it",
    ),
    "a mogrifier that is no LSTM": (
        "model:\n  mogrifier_rounds: 5\n  type: gru\n",
        ":3: model.mogrifier_rounds is 5, but model.type is gru, and only lstm has mogrifier rounds;"
        " set model.mogrifier_rounds to 0 or model.type to lstm",
    ),
    "a norm of its own": (
        "model:\n  layer_norm: pre\n",
        ":2: model.layer_norm: must be one of none, between, cell; given 'pre'",
    ),
    "cosine that rises": (
        "training:\n  min_learning_rate: 1\n",
        ":2: training.min_learning_rate 1.0 is above training.learning_rate 0.002; lower it, or raise learning_rate",
    ),
    "a name of checkpoints in another folder": (
        "logging:\n  savefile: cv/lstm\n",
        ":2: logging.savefile: must be a file name or null; given 'cv/lstm'",
    ),
    "decay that grows": (
        "training:\n  learning_rate_decay: 1.1\n",
        ":2: training.learning_rate_decay: must be a number more than 0 and at most 1; given 1.1",
    ),
    "2015 with today's embedding": (
        "training:\n  trainer: torch7\n",
        ":2: training.trainer torch7 needs model.embedding one-hot, not learned; use the recipe torch7,"
        " or set training.trainer to modern (leave out --torch7)",
    ),
    "twice": (
        "training:\n  seed: 1\n  batch_size: 2\n  seed: 3\n",
        ":4: training.seed: given twice (first on line 2); keep one",
    ),
    "section twice": ("model: {}\nmodel: {}\n", ":2: model: given twice (first on line 1); keep one"),
    "key that is a list": ("[a, b]: 1\n", ":1: a key must be a single word"),
    "merge key": (
        "model:\n  <<: 1\n",
        ":2: model.<<: unknown key; known: type, hidden_size, num_layers, dropout,"
        " locked_dropout, embedding_dropout, weight_dropout, zoneout, embedding, embedding_size, tie_weights, reset,"
        " mogrifier_rounds, layer_norm, residual, feed_forward_size, attention, attention_heads, attention_window,"
        " match_lengths, match_window, match_dropout, initialization",
    ),
    "code": (
        "model: !!python/object/apply:os.system ['true']\n",
        ":1: tag !!python/object/apply:os.system is not allowed; write the plain value",
    ),
    "tag on a scalar": (
        "model:\n  type: !mine lstm\n",
        ":2: tag !mine is not allowed; write the plain value",
    ),
    "alias": (
        "model: &m {type: gru}\ntraining: *m\n",
        ":2: not valid YAML: aliases (*name) are not allowed",
    ),
    "deep nesting": ("model: " + "[" * 100_000, ":1: not valid YAML: nested too deeply"),
    "tab": (
        "model:\n\ttype: lstm\n",
        ":2: not valid YAML: while scanning for the next token, found character '\\t' that cannot start any token",
    ),
    "unclosed": (
        "model: {type: lstm\n",
        ":2: not valid YAML: while parsing a flow mapping, expected ',' or '}', but got '<stream end>'",
    ),
    "two documents": (
        "model: {}\n---\nmodel: {}\n",
        ":2: not valid YAML: expected a single document in the stream, but found another document",
    ),
    "control character": ("model:\n  type: \x07\n", ":2: not valid YAML: character U+0007"),
    "escape just beyond Unicode": (
        'generation:\n  prime: "\\U00110000"\n',
        ":2: not valid YAML: an escape beyond Unicode's last character",
    ),
    "escape beyond Unicode": (
        'generation:\n  prime: "\\Uffffffff"\n',
        ":2: not valid YAML: an escape beyond Unicode's last character",
    ),
    "digits beyond measure": (
        "training: {batch_size: " + "9" * 5000 + "}\n",
        f":1: training.batch_size: {COUNT}; given '" + "9" * 76 + "...",
    ),
    "not UTF-8": (b"model: {}\n# \xff", ": not UTF-8 at byte 12; save it as UTF-8 text"),
    "UTF-16": ("model: {}".encode("utf-16-le"), ":1: not valid YAML: character U+0000"),
    "a model instead": (
        b"\x00" * (1 << 21),
        ": longer than 1,048,576 bytes; is it a configuration?",
    ),
}


OVERRIDES = {
    "model.match_lengths=[3,0]": "must be a list of at most 8 whole numbers from 1 to 64; given [3, 0]",
    "training.learning_rte=1": "unknown key; did you mean learning_rate?",
    "model.batch_size=3": "unknown key; did you mean training.batch_size?",
    "model.a.b=3": "unknown key; known: type, hidden_size, num_layers, dropout,"
    " locked_dropout, embedding_dropout, weight_dropout, zoneout, embedding, embedding_size, tie_weights, reset,"
    " mogrifier_rounds, layer_norm, residual, feed_forward_size, attention, attention_heads, attention_window,"
    " match_lengths, match_window, match_dropout, initialization",
    "modle.type=gru": "unknown section; did you mean model?",
    "training.seed": "has no value; write it as section.key=value",
    "": "has no value; write it as section.key=value",
    "batch_size=3": "must be section.key=value; did you mean training.batch_size?",
    "=3": "must be section.key=value; known: model, training, data, generation, logging, device",
    "model.type=lsmt": f"must be one of {CELLS}; given 'lsmt'; did you mean lstm?",
    "training.batch_size=0": f"{COUNT}; given 0",
    "training.batch_size=": f"{COUNT}; given null",
    "training.learning_rate=1e999": "must be a number more than 0; given inf",
    "training.learning_rate=[": "not valid YAML: while parsing a flow node, expected the node content, but found"
    " '<stream end>'",
    "training.seed=*a": "not valid YAML: aliases (*name) are not allowed",
    "training.seed=!!python/name:os.system x": "tag !!python/name:os.system is not allowed; write the plain value",
    "data.train_frac=0.99": "data.train_frac 0.99 and data.val_frac 0.05 add up to 1.04; together they must be at"
    " most 1",
    "data.encoding=a\x00b": "must be a text encoding that Python knows, such as utf-8 or latin-1; given 'a\\x00b'",
    "logging.log_dir=": "must be a path or null; given ''",
}
