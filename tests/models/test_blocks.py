"""What a model can have beside its recurrent layers: structure, streams, dropout of every kind, refusals."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from char_rnn.cells import LSTM, Cell, MinGRU
from char_rnn.models import CharGRU, CharLSTM, CharModel, CharRNN, detach_state
from char_rnn.models.dropout import drop_symbols, drop_units, drop_weights, zoneout_mask

V, H, L, B, T = 11, 8, 3, 4, 12
CLASSES: list[type[CharModel]] = [CharLSTM, CharGRU, CharRNN]
OPTIONS: dict[str, dict[str, Any]] = {
    "between": {"layer_norm": "between"},
    "cell": {"layer_norm": "cell"},
    "residual": {"layer_norm": "between", "residual": True},
    "feed-forward": {"feed_forward_size": 5},
    "attention top": {"attention": "top", "attention_window": 3},
    "attention all": {"attention": "all", "attention_window": 4, "attention_heads": 2},
    "tied": {"tie_weights": True},
    "zoneout": {"zoneout": 0.3},
    "everything": {
        "layer_norm": "cell",
        "residual": True,
        "feed_forward_size": 5,
        "attention": "all",
        "attention_heads": 4,
        "attention_window": 5,
        "tie_weights": True,
        "zoneout": 0.3,
    },
}
each_model = pytest.mark.parametrize("model_class", CLASSES)
each_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def ids(batch: int = B, time: int = T) -> Tensor:
    return torch.randint(0, V, (batch, time), generator=torch.Generator().manual_seed(3))


def parts(hidden: Any) -> tuple[Tensor, ...]:
    return (hidden,) if isinstance(hidden, Tensor) else hidden


@each_model
@each_option
def test_one_symbol_at_a_time_is_one_long_pass(model_class: type[CharModel], options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = model_class(V, H, L, **options).eval()
    whole, last = model(ids())
    hidden, streamed = model.init_hidden(B), []
    for x in ids().split(1, 1):
        before = [part.shape for part in parts(hidden)]
        log_probs, hidden = model(x, hidden)
        streamed.append(log_probs)
        assert [part.shape for part in parts(hidden)] == before
    torch.testing.assert_close(torch.cat(streamed, 1), whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(hidden, last, rtol=0, atol=1e-5)


@pytest.mark.slow
@each_option
def test_gradients_agree_with_finite_differences(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = CharLSTM(4, 4, 2, mogrifier_rounds=2, **{**options, "attention_heads": 2}).double()
    parameters = dict(model.named_parameters())
    x = torch.tensor([[0, 1, 3, 2, 1], [2, 2, 0, 1, 3]])

    def loss(*values: Tensor) -> Tensor:
        torch.manual_seed(1)  # the same units zoned out each time
        outputs = torch.func.functional_call(model, dict(zip(parameters, values, strict=True)), (x,))
        return outputs[0][..., 0].sum()

    assert torch.autograd.gradcheck(loss, tuple(parameters.values()))


@each_model
def test_the_plain_model_draws_as_before(model_class: type[CharModel]) -> None:
    """Options that are off leave the starting weights, the state dict and the generator alone."""
    torch.manual_seed(1)
    plain = model_class(V, H, L, dropout=0.5)
    left = torch.get_rng_state()
    torch.manual_seed(1)
    other = model_class(V, H, L, dropout=0.5, attention_window=7, attention_heads=2)
    assert torch.equal(torch.get_rng_state(), left)
    assert list(plain.state_dict()) == list(other.state_dict())
    torch.manual_seed(2)
    dropped = plain(ids())[0]
    torch.manual_seed(2)
    assert torch.equal(other(ids())[0], dropped)


def test_a_pre_norm_residual_block_is_its_equation() -> None:
    model = CharLSTM(V, H, 2, layer_norm="between", residual=True, embedding_size=H).double()
    x = model.embedding(ids())
    for number in range(2):
        lstm = nn.LSTM(H, H, batch_first=True).double()
        names = [f"{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        lstm.load_state_dict(dict(zip(names, model.layers.weights(number), strict=True)))
        x = x + lstm(nn.functional.layer_norm(x, (H,)))[0]
    expected = torch.log_softmax(model.output_proj(nn.functional.layer_norm(x, (H,))), -1)
    torch.testing.assert_close(model(ids())[0], expected, rtol=0, atol=1e-12)


def test_an_input_of_another_length_is_not_added() -> None:
    model = CharRNN(V, H, 2, residual=True, embedding_size=5)
    assert [block.residual for block in model.blocks] == [False, True]


def test_sublayers_are_added_to_what_is_there() -> None:
    torch.manual_seed(0)
    plain = CharGRU(V, H, 2)
    model = CharGRU(V, H, 2, attention="all", attention_window=3, feed_forward_size=6)
    model.load_state_dict(plain.state_dict(), strict=False)
    for block in model.blocks:
        nn.init.zeros_(block.attention.output.weight)
        nn.init.zeros_(block.feed_forward.narrow.weight)
        nn.init.zeros_(block.feed_forward.narrow.bias)
    assert torch.equal(model(ids())[0], plain(ids())[0])
    nn.init.ones_(model.blocks[1].feed_forward.narrow.bias)
    expected = plain.output_proj(plain.with_activations(ids())[2].output + 1).log_softmax(-1)
    torch.testing.assert_close(model(ids())[0], expected)


def test_attention_reaches_across_sequences() -> None:
    """The memory carries what the recurrent state has forgotten."""
    torch.manual_seed(0)
    model = CharRNN(V, H, 1, attention="top", attention_window=6)
    nn.init.zeros_(model.layers.weights(0)[1])  # the recurrent layer itself remembers nothing
    first, second = ids(1, 5), ids(1, 4)
    _, hidden = model(first)
    _, others = model(first.flip(1).remainder(V - 1))
    assert not torch.equal(model(second, hidden)[0], model(second, others)[0])


def test_tied_weights_are_one() -> None:
    model = CharLSTM(V, H, 1, tie_weights=True)
    assert model.embedding.weight.shape == (V, H)
    assert "output_proj.weight" not in model.state_dict()
    copied = copy.deepcopy(model)
    with torch.no_grad():
        copied.embedding.weight.zero_()
    assert not copied.output_proj.weight.any()
    assert model.output_proj.weight is model.embedding.weight
    assert 0.9 / H**0.5 < model.embedding.weight.abs().max() <= 1 / H**0.5  # drawn as a projection


@pytest.mark.parametrize("initialization", ["pytorch", "uniform", "xavier", "he", "orthogonal"])
def test_normalization_starts_as_the_identity(initialization: str) -> None:
    for layer_norm in ("between", "cell"):
        model = CharLSTM(V, H, 2, layer_norm=layer_norm, attention="all", initialization=initialization)  # type: ignore[arg-type]
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight") or "gain" in name:
                assert torch.equal(parameter, torch.ones_like(parameter)), name
            if name.endswith("norm.bias") or "bias_c" in name:
                assert torch.equal(parameter, torch.zeros_like(parameter)), name


def test_locked_dropout_drops_the_same_units_at_every_step() -> None:
    dropped = drop_units(torch.ones(B, T, 200), 0.25, locked=True)
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert not torch.equal(dropped[0], dropped[1])
    assert set(dropped.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert (dropped == 0).double().mean().item() == pytest.approx(0.25, abs=0.06)
    fresh = drop_units(torch.ones(B, T, 200), 0.25, locked=False)
    assert not torch.equal(fresh[:, 0], fresh[:, 1])


def test_a_dropped_symbol_is_dropped_everywhere() -> None:
    x = ids(50, 40)
    dropped = drop_symbols(torch.ones(50, 40, 3), x, V, 0.5)
    for symbol in range(V):
        assert len(dropped[x == symbol].unique()) == 1
    assert sorted(dropped.unique().tolist()) == [0, 2]


@pytest.mark.parametrize(("cell", "name"), [(LSTM(), "weight_hh"), (MinGRU(), "weight_ih")], ids=["lstm", "mingru"])
def test_weights_are_dropped_once_a_pass(cell: Cell, name: str) -> None:
    model = CharModel(V, H, 1, cell=cell, weight_dropout=0.5)
    seen: list[Tensor] = []
    run_layer = model.run_layer

    def watched(x: Tensor, state: Any, parameters: dict[str, Tensor], **options: Any) -> Any:
        seen.append(parameters[name])
        return run_layer(x, state, parameters, **options)

    model.run_layer = watched  # type: ignore[method-assign]
    model(ids())
    model(ids())
    weight = model.layers.named(0)[name]
    assert (seen[0] == 0).double().mean().item() == pytest.approx(0.5, abs=0.12)
    assert not torch.equal(seen[0], seen[1])
    kept = seen[0] != 0
    torch.testing.assert_close(seen[0][kept], 2 * weight[kept])
    model.eval()(ids())
    assert seen[2] is weight
    assert drop_weights(weight, 0.0) is weight


def test_zoneout_keeps_or_takes_whole_units_and_mixes_them_in_evaluation() -> None:
    mask = zoneout_mask(torch.zeros(B, 100), T, 0.25, training=True)
    assert isinstance(mask, Tensor)
    assert mask.shape == (T, B, 100)
    assert set(mask.unique().tolist()) == {0, 1}
    assert mask.mean().item() == pytest.approx(0.75, abs=0.03)
    assert zoneout_mask(torch.zeros(B, 100), T, 0.25, training=False) == 0.75


@each_model
@pytest.mark.parametrize(
    "option",
    [
        {"dropout": 0.5, "locked_dropout": True},
        {"embedding_dropout": 0.5},
        {"weight_dropout": 0.5},
        {"zoneout": 0.5},
        {"dropout": 0.5, "attention": "all", "feed_forward_size": 4},
    ],
    ids=str,
)
def test_what_is_dropped_is_dropped_in_training_alone(model_class: type[CharModel], option: dict[str, Any]) -> None:
    model = model_class(V, H, 2, **option)
    assert not torch.equal(model(ids())[0], model(ids())[0])
    model.eval()
    assert torch.equal(model(ids())[0], model(ids())[0])


@each_model
@each_option
def test_a_state_can_be_cut_off_and_learned_from(model_class: type[CharModel], options: dict[str, Any]) -> None:
    """Two sequences, the state carried: every parameter gets a gradient, no graph is walked twice."""
    model = model_class(V, H, L, 0.1, **options)
    _, hidden = model(ids())
    hidden = detach_state(hidden)
    assert not any(part.requires_grad for part in parts(hidden))
    model(ids(), hidden)[0][..., 1].sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_norm": "pre"}, "layer_norm: must be one of none, between, cell; given 'pre'"),
        ({"attention": "bottom"}, "attention: must be one of none, top, all; given 'bottom'"),
        (
            {"attention": "top", "attention_heads": 3},
            "attention_heads 3 does not divide model.hidden_size 8; give a divisor of it",
        ),
        (
            {"attention": "top", "attention_window": 0},
            "attention_window: must be a whole number from 1 to 65,536; given 0",
        ),
        ({"feed_forward_size": 0}, "feed_forward_size: must be a whole number from 1 to 65,536, or null; given 0"),
        ({"zoneout": 1.0}, "zoneout: must be a number from 0 to below 1; given 1.0"),
        ({"weight_dropout": -0.1}, "weight_dropout: must be a number from 0 to below 1; given -0.1"),
        ({"mogrifier_rounds": -1}, "mogrifier_rounds: must be a whole number from 0 to 100; given -1"),
        (
            {"mogrifier_rounds": 2},
            "mogrifier_rounds is 2, but model.type is gru, and only lstm has mogrifier rounds; set"
            " model.mogrifier_rounds to 0 or model.type to lstm",
        ),
        (
            {"tie_weights": True, "embedding_size": 5},
            "embedding_size is 5, but a tied embedding has the size of model.hidden_size, 8; set model.embedding_size"
            " to null or model.tie_weights to false",
        ),
        (
            {"tie_weights": True, "embedding": "one-hot"},
            "tie_weights shares the embedding, but one-hot vectors are not learned; set model.tie_weights to false or"
            " model.embedding to learned",
        ),
        ({"zoneuot": 0.1}, "zoneuot: unknown key; did you mean zoneout?"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the whole message is compared)
        CharGRU(V, H, 2, **options)
    assert str(error.value).removeprefix("CharGRU: model.") == message


def test_a_memory_of_the_wrong_shape_is_named() -> None:
    model = CharGRU(V, H, L, attention="top", attention_window=5)
    message = (
        "hidden: CharGRU needs h of shape (layers, batch, hidden) = (3, 4, 8) and a memory of shape (attending layers, "
        "batch, window, hidden) = (1, 4, 5, 8), got (3, 4, 8); init_hidden(4, device) makes it"
    )
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the whole message is compared)
        model(ids(), torch.zeros(L, B, H))
    assert str(error.value) == message
