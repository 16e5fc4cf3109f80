"""The three models: against plain PyTorch modules, dropout, hidden state, bad arguments."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from char_rnn.models import CharGRU, CharLSTM, CharModel, CharRNN, detach_state
from char_rnn.models.dropout import drop_units

V, H, L, B, T = 11, 7, 3, 4, 6
PLAIN: list[tuple[type[CharModel], type[nn.RNNBase], str]] = [
    (CharLSTM, nn.LSTM, "lstm"),
    (CharGRU, nn.GRU, "gru"),
    (CharRNN, nn.RNN, "rnn"),
]
each_plain = pytest.mark.parametrize(("model_class", "plain_class", "name"), PLAIN, ids=["lstm", "gru", "rnn"])
each_model = pytest.mark.parametrize("model_class", [CharLSTM, CharGRU, CharRNN])


def ids(batch: int = B, time: int = T) -> Tensor:
    return torch.randint(0, V, (batch, time), generator=torch.Generator().manual_seed(3))


def plain_modules(plain_class: type[nn.RNNBase], name: str) -> nn.ModuleDict:
    """Plain modules under the names of the model, made in the same order."""
    embedding = nn.Embedding(V, V)
    recurrent = plain_class(V, H, L, batch_first=True)  # type: ignore[arg-type]
    return nn.ModuleDict({"embedding": embedding, name: recurrent, "output_proj": nn.Linear(H, V)})


def run_plain(modules: nn.ModuleDict, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
    output, hidden = modules[name](modules["embedding"](x))
    return torch.log_softmax(modules["output_proj"](output), -1), hidden


@each_plain
def test_a_seeded_model_is_the_plain_modules(
    model_class: type[CharModel], plain_class: type[nn.RNNBase], name: str
) -> None:
    torch.manual_seed(5)
    model = model_class(V, H, L)
    torch.manual_seed(5)
    modules = plain_modules(plain_class, name)
    assert list(model.state_dict()) == list(modules.state_dict())
    assert all(torch.equal(value, modules.state_dict()[key]) for key, value in model.state_dict().items())


@each_plain
def test_state_dict_loads_into_plain_modules_and_back(
    model_class: type[CharModel], plain_class: type[nn.RNNBase], name: str
) -> None:
    model, modules = model_class(V, H, L), plain_modules(plain_class, name)
    modules.load_state_dict(model.state_dict())
    log_probs, hidden = model(ids())
    expected, expected_hidden = run_plain(modules, name, ids())
    torch.testing.assert_close(log_probs, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(hidden, expected_hidden, rtol=0, atol=1e-6)
    other = model_class(V, H, L)
    other.load_state_dict(modules.state_dict())
    assert torch.equal(other(ids())[0], log_probs)


@each_plain
def test_gradients_are_those_of_the_plain_modules(
    model_class: type[CharModel], plain_class: type[nn.RNNBase], name: str
) -> None:
    model, modules = model_class(V, H, L).double(), plain_modules(plain_class, name).double()
    modules.load_state_dict(model.state_dict())
    model(ids())[0][..., 2].sum().backward()
    run_plain(modules, name, ids())[0][..., 2].sum().backward()
    expected = dict(modules.named_parameters())
    for key, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[key].grad, rtol=1e-9, atol=1e-12)


@each_model
def test_probabilities_sum_to_one(model_class: type[CharModel]) -> None:
    log_probs, _ = model_class(V, H, L)(ids())
    assert log_probs.shape == (B, T, V)
    assert log_probs.is_contiguous()
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(B, T))


@pytest.mark.parametrize("model_class", [CharLSTM, CharGRU, CharRNN])
@pytest.mark.parametrize("embedding", ["learned", "one-hot"])
def test_carried_state_continues_the_sequence(model_class: type[CharModel], embedding: str) -> None:
    model = model_class(V, H, L, embedding=embedding).double()  # type: ignore[arg-type]
    whole, last = model(ids())
    first, hidden = model(ids()[:, :2], model.init_hidden(B, "cpu"))
    second, hidden = model(ids()[:, 2:], detach_state(hidden))
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(hidden, last)


@each_model
@pytest.mark.parametrize(("products", "rounding"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
def test_autocast_gives_results_of_the_parameters_type(
    model_class: type[CharModel], products: torch.dtype, rounding: float
) -> None:
    model = model_class(V, H, L, dropout=0.5).eval()
    expected, expected_hidden = model(ids(), model.init_hidden(B))
    with torch.autocast("cpu", dtype=products):
        log_probs, hidden = model(ids(), model.init_hidden(B))
    assert log_probs.is_contiguous()
    torch.testing.assert_close(log_probs, expected, rtol=0, atol=4 * rounding)
    torch.testing.assert_close(hidden, expected_hidden, rtol=0, atol=4 * rounding)
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(B, T))


@each_model
def test_autocast_leaves_double_precision_alone(model_class: type[CharModel]) -> None:
    model = model_class(V, H, L).double()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        log_probs, hidden = model(ids())
    torch.testing.assert_close((log_probs, hidden), model(ids()), rtol=0, atol=0)


@each_model
@pytest.mark.parametrize("products", [torch.bfloat16, torch.float16])
def test_training_under_autocast_learns_as_without(model_class: type[CharModel], products: torch.dtype) -> None:
    losses = []
    for enabled in (True, False):
        torch.manual_seed(0)
        model = model_class(V, 32, 2)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        hidden = model.init_hidden(B)
        for _ in range(20):
            with torch.autocast("cpu", dtype=products, enabled=enabled):
                log_probs, hidden = model(ids(), detach_state(hidden))
                loss = nn.functional.nll_loss(log_probs.flatten(0, 1), ids().flatten())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        losses.append(loss.item())
    assert losses[1] < 0.5
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


@each_model
def test_init_hidden_is_zero_in_shape_and_type(model_class: type[CharModel]) -> None:
    hidden = model_class(V, H, L).double().init_hidden(B, torch.device("cpu"))
    parts = (hidden,) if isinstance(hidden, Tensor) else hidden
    assert len(parts) == (2 if model_class is CharLSTM else 1)
    for part in parts:
        assert torch.equal(part, torch.zeros(L, B, H, dtype=torch.float64))


def test_detach_state_cuts_the_graph() -> None:
    for model in (CharLSTM(V, H, 1), CharRNN(V, H, 1)):
        hidden = detach_state(model(ids())[1])
        parts = (hidden,) if isinstance(hidden, Tensor) else hidden
        assert not any(part.requires_grad for part in parts)


def test_one_hot_is_a_learned_identity() -> None:
    fixed, learned = CharLSTM(V, H, L, embedding="one-hot"), CharLSTM(V, H, L)
    assert "embedding.weight" not in fixed.state_dict()
    learned.load_state_dict({**fixed.state_dict(), "embedding.weight": torch.eye(V)})
    assert torch.equal(fixed(ids())[0], learned(ids())[0])


def test_embedding_size_is_the_first_layers_input() -> None:
    model = CharLSTM(V, H, 2, embedding_size=3)
    assert model.embedding.weight.shape == (V, 3)
    assert model.state_dict()["lstm.weight_ih_l0"].shape == (4 * H, 3)
    assert model.state_dict()["lstm.weight_ih_l1"].shape == (4 * H, H)


@each_model
def test_dropout_is_for_training_alone(model_class: type[CharModel]) -> None:
    model = model_class(V, H, 1, dropout=0.5)
    dropped = model(ids())[0]
    assert not torch.equal(model(ids())[0], dropped)
    model.eval()
    without = model_class(V, H, 1)
    without.load_state_dict(model.state_dict())
    assert torch.equal(model(ids())[0], without(ids())[0])


def test_dropout_after_the_top_layer_zeroes_its_share() -> None:
    model = CharLSTM(V, 64, 2, dropout=0.25)
    seen: list[Tensor] = []
    model.output_proj.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(ids(50, 20))
    model.eval()
    model(ids(50, 20))
    assert (seen[0] == 0).double().mean().item() == pytest.approx(0.25, abs=0.01)
    assert not (seen[1] == 0).any()


@pytest.mark.parametrize("p", [0.001, 0.2, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(p: float) -> None:
    torch.manual_seed(3)
    x = torch.ones(40, 50, 100).transpose(0, 1)
    dropped = drop_units(x, p, locked=False)
    deviation = (p * (1 - p) / x.numel()) ** 0.5
    assert (dropped == 0).double().mean().item() == pytest.approx(p, abs=5 * deviation + 2**-16)
    torch.testing.assert_close(dropped[dropped != 0].unique(), torch.tensor([1 / (1 - p)]))
    assert not torch.equal(dropped, drop_units(x, p, locked=False))


def test_dropout_leaves_the_carried_state_alone() -> None:
    torch.manual_seed(0)
    model = CharRNN(V, 64, 1, dropout=0.9)
    hidden = model(ids())[1]
    assert torch.equal(hidden, model.eval()(ids())[1])


def test_reset_before_is_another_function() -> None:
    after, before = CharGRU(V, H, L), CharGRU(V, H, L, reset="before")
    before.load_state_dict(after.state_dict())
    hidden = torch.ones(L, B, H)
    assert (after(ids(), hidden)[0] - before(ids(), hidden)[0]).abs().max() > 1e-3


@each_model
def test_models_copy_and_pickle(model_class: type[CharModel]) -> None:
    model = model_class(V, H, 2)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(ids())[0], model(ids())[0])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0, 5, 1), {}, "vocab_size: got 0; give a whole number, 1 or more"),
        ((5, -1, 1), {}, "hidden_size: must be a whole number from 1 to 65,536; given -1"),
        ((5, 5, 1.5), {}, "num_layers: must be a whole number from 1 to 1,024; given 1.5"),
        ((5, 5, True), {}, "num_layers: must be a whole number from 1 to 1,024; given true"),
        ((5, 5, 1, 1.0), {}, "dropout: must be a number from 0 to below 1; given 1.0"),
        ((5, 5, 1, float("nan")), {}, "dropout: must be a number from 0 to below 1; given nan"),
        (
            (5, 5, 1),
            {"embedding": "onehot"},
            "embedding: must be one of learned, one-hot; given 'onehot'; did you mean one-hot?",
        ),
        ((5, 5, 1), {"embedding_size": 0}, "embedding_size: must be a whole number from 1 to 65,536, or null; given 0"),
        (
            (5, 5, 1),
            {"embedding": "one-hot", "embedding_size": 5},
            "embedding_size is 5, but one-hot vectors have the vocabulary's size; set model.embedding_size to null or"
            " model.embedding to learned",
        ),
        (
            (5, 5, 1),
            {"initialization": "zeros"},
            "initialization: must be one of pytorch, uniform, xavier, he, orthogonal; given 'zeros'",
        ),
        ((5, 5, 1), {"reset": "x"}, 'reset: got \'x\'; give "after" or "before"'),
    ],
)
def test_bad_arguments_are_named(arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the whole message is compared)
        CharGRU(*arguments, **options)
    assert str(error.value).removeprefix("CharGRU: model.") == message


def test_a_hidden_state_of_the_wrong_shape_is_named() -> None:
    message = (
        "hidden: CharLSTM needs h and c of shape (layers, batch, hidden) = (3, 4, 7), got (3, 4, 8), (3, 4, 7); "
        "init_hidden(4, device) makes it"
    )
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the whole message is compared)
        CharLSTM(V, H, L)(ids(), (torch.zeros(L, B, H + 1), torch.zeros(L, B, H)))
    assert str(error.value) == message
    with pytest.raises(ValueError, match="CharRNN needs h of shape"):
        CharRNN(V, H, L)(ids(), (torch.zeros(L, B, H), torch.zeros(L, B, H)))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(3, dtype=torch.int64), "x: got shape (3,)"),
        (torch.zeros(2, 0, dtype=torch.int64), "x: got shape (2, 0)"),
        (torch.zeros(2, 3), "x: got torch.float32"),
    ],
)
def test_bad_ids_are_named(x: Tensor, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the start of the message is compared)
        CharRNN(V, H, 1)(x)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("embedding", ["learned", "one-hot"])
@pytest.mark.parametrize("bad", [V, -1])
def test_an_id_outside_the_vocabulary_is_an_error(embedding: str, bad: int) -> None:
    model = CharRNN(V, H, 1, embedding=embedding)  # type: ignore[arg-type]
    with pytest.raises((IndexError, RuntimeError), match=r"out of (range|bounds)"):
        model(torch.tensor([[0, bad]]))


def test_a_printed_model_names_its_sizes() -> None:
    shown = repr(CharGRU(V, H, L, embedding="one-hot"))
    assert "(embedding): OneHot(11)" in shown
    assert "(gru): RecurrentLayers(GRU, input_size=11, hidden_size=7, num_layers=3)" in shown
