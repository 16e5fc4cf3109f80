import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from char_rnn.bench.cost import matrix_elements, parameter_count, training_flop, writing_flop
from char_rnn.bench.training_sides import VOCABULARY, Shape, config_of
from char_rnn.bench.writing_sides import SYMBOLS, bytes_of, model_file
from char_rnn.models import build_model
from char_rnn.ops import reference_layer


@pytest.mark.parametrize(("hidden", "layers"), [(16, 1), (24, 2), (8, 3)])
def test_training_flop_are_those_that_pytorch_counts(hidden: int, layers: int) -> None:
    batch, time, gates = 3, 5, 4
    model = build_model(config_of(Shape(hidden=hidden, layers=layers)).model, VOCABULARY)
    weights = dict(model.named_parameters())
    ids = torch.randint(VOCABULARY, (batch, time))
    with FlopCounterMode(display=False) as counter:
        x = weights["embedding.weight"][ids]
        for layer in range(layers):
            zeros = torch.zeros(batch, hidden)
            x, _ = reference_layer(model.cell, x, (zeros, zeros), model.layers.named(layer))
        scores = nn.functional.linear(x, weights["output_proj.weight"], weights["output_proj.bias"])
        nn.functional.cross_entropy(scores.flatten(0, 1), ids.flatten()).backward()
    of_the_zeros = layers * batch * 2 * gates * hidden * hidden  # no gradient goes to the state before the first step
    counted = batch * time * training_flop(config_of(Shape(hidden=hidden, layers=layers)).model, VOCABULARY)
    assert counter.get_total_flops() == counted - of_the_zeros


def test_parameters_are_the_models() -> None:
    config = config_of(Shape(hidden=24)).model
    assert parameter_count(config, VOCABULARY) == sum(p.numel() for p in build_model(config, VOCABULARY).parameters())


def test_a_step_of_the_engine_reads_each_number_it_multiplies_once() -> None:
    file = model_file("lstm", 32)
    assert 4 * matrix_elements(file.config.model, len(SYMBOLS), looked_up=True) == bytes_of(file)
    assert writing_flop(file.config.model, len(SYMBOLS)) == 2 * (4 * 32 * 32 + 4 * 32 * 64 + 65 * 32)
