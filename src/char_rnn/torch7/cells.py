"""The steps of a GRU whose reset gate comes before the recurrent product, over buffers made once.

What does not depend on the step before (the slopes of the gates, the gradients of the weights) is one large operation
over all steps, in place where it can be, and the loops hold the rest.

Dimensions: B batch, T time, H hidden; buffers are time-major, so that a step is one block of memory.

With d for "gradient of the loss with respect to", and a_r, a_z, a_n the arguments of the functions of
:class:`char_rnn.cells.GRU`, r, z and n::

    d a_n = d h' (1 - z) (1 - n^2)              d a_z = d h' (h - n) z (1 - z)
    d(rh) = W_hn^T d a_n                        d a_r = d(rh) h r (1 - r)
    d h   = d h' z + d(rh) r + W_hr^T d a_r + W_hz^T d a_z


The recurrent layers of the exact recipe: forward and backward through a window, over buffers made once.

Each layer keeps its states time-major: ``before`` and ``after`` are the hidden states around each step, two views of
one buffer of T + 1. :meth:`Layer.carry` copies the last state to the front, where the next window begins; called
between forward and backward it overwrites what the backward pass reads there, as the 2015 program does.

On the CPU the passes are written by hand. No allocation in the loops and one contiguous block a step make float64
about 1.4 times as fast as PyTorch's own path. :class:`FusedLayer` takes PyTorch's kernels where those win: an LSTM in
float32 (oneDNN), and accelerators (cuDNN).

Dimensions: B batch, T time, I input size, H hidden, G gates of the cell.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from char_rnn.models import CharModel


def run_steps(gates: Tensor, states: Tensor, reset_states: Tensor, weight_hh: Tensor) -> None:
    """Run the recurrence in place.

    Args:
        gates: (T, B, 3H), holds W_i x + b_i + b_h and becomes r, z, n.
        states: (T + 1, B, H), holds the state before the first step at 0 and is filled.
        reset_states: (T, B, H), filled with r h.
        weight_hh: (3H, H).
    """
    gate_weights, candidate_weights = _rz(weight_hh, 0).t(), weight_hh.chunk(3)[2].t()
    for rz, r, z, n, h, rh, h_next in by_step(_rz(gates), *gates.chunk(3, -1), states[:-1], reset_states, states[1:]):
        rz.addmm_(h, gate_weights).sigmoid_()
        torch.mul(r, h, out=rh)
        n.addmm_(rh, candidate_weights).tanh_()
        torch.lerp(n, h, z, out=h_next)


def slopes(gates: Tensor, before: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the factors that turn d(rh), d h' and d h' into d a_r, d a_z and d a_n, side by side: (T, B, 3H).

    Args:
        gates: (T, B, 3H), r, z and n of every step.
        before: (T, B, H), the state before every step.
        out: where to put them; None makes room.
    """
    r, z, n = gates.chunk(3, -1)
    out = torch.empty_like(gates) if out is None else out
    slope_r, slope_z, slope_n = out.chunk(3, -1)
    torch.mul(torch.addcmul(r, r, r, value=-1), before, out=slope_r)
    torch.mul(torch.addcmul(z, z, z, value=-1), before - n, out=slope_z)
    renewed = 1 - z
    torch.addcmul(renewed, renewed * n, n, value=-1, out=slope_n)
    return out


def run_steps_back(grads: Tensor, gates: Tensor, grad_output: Tensor, weight_hh: Tensor) -> Tensor:
    """Run the recurrence backwards in place and return the gradient of the state before the first step, (B, H).

    Args:
        grads: (T, B, 3H), holds the slopes and becomes d a_r, d a_z, d a_n.
        gates: (T, B, 3H), r, z and n of every step.
        grad_output: (T, B, H), what the loss itself adds to d h' at every step.
        weight_hh: (3H, H).
    """
    r, z, _ = gates.chunk(3, -1)
    gate_weights, candidate_weights = _rz(weight_hh, 0), weight_hh.chunk(3)[2]
    grad = torch.zeros_like(grad_output[0], memory_format=torch.contiguous_format)
    steps = reversed(list(by_step(_rz(grads), *grads.chunk(3, -1), r, z, grad_output)))
    for grad_rz, grad_r, grad_z, grad_n, r_t, z_t, from_loss in steps:
        grad.add_(from_loss)
        grad_n.mul_(grad)
        grad_z.mul_(grad)
        grad_rh = grad_n.mm(candidate_weights)
        grad_r.mul_(grad_rh)
        grad.mul_(z_t).addcmul_(grad_rh, r_t).addmm_(grad_rz, gate_weights)
    return grad


def grad_weight_hh(grads: Tensor, before: Tensor, reset_states: Tensor) -> Tensor:
    """Return the gradient of weight_hh, (3H, H), from d a of (TB, 3H): r and z read h, n reads r h."""
    grads = grads.t()
    return torch.cat([_rz(grads, 0) @ before.flatten(0, 1), grads.chunk(3)[2] @ reset_states.flatten(0, 1)])


def _rz(blocks: Tensor, dim: int = -1) -> Tensor:
    """Return the r and z blocks, of r, z, n side by side, as one view."""
    return blocks.narrow(dim, 0, blocks.shape[dim] // 3 * 2)


def by_step(*buffers: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Go through time-major buffers together. Unbinding makes all views in one call, cheaper than slicing each step."""
    return zip(*(buffer.unbind() for buffer in buffers), strict=True)


class Layer(ABC):
    """One recurrent layer of a model and the buffers of a window: ``states`` are those of c and h, or of h alone.

    Args:
        model: whose parameters are read, and given their gradients.
        number: which of its layers, from 0.
        time: T.
        batch: B.
    """

    def __init__(self, model: CharModel, number: int, time: int, batch: int) -> None:
        self.parameters = model.layers.weights(number)
        weights = [parameter.detach() for parameter in self.parameters]
        self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh = weights
        self.hidden_size = model.hidden_size
        self.states = [self._buffer(time + 1, batch) for _ in model.cell.state]
        self.hidden = self.states[-1]
        self.before, self.after = self.hidden[:-1], self.hidden[1:]

    def _buffer(self, steps: int, batch: int, blocks: int = 1) -> Tensor:
        return self.weight_hh.new_zeros(steps, batch, blocks * self.hidden_size)

    def carry(self) -> None:
        """Make the state after the window the one before it."""
        for state in self.states:
            state[0].copy_(state[-1])

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Run the window: ids (T, B) or vectors (T, B, I) to the outputs (T, B, H)."""

    @abstractmethod
    def backward(self, grad_output: Tensor) -> Tensor | None:
        """Give the parameters their gradients, from that of the outputs; return the input's, None when it was ids."""


class ManualLayer(Layer):
    """A layer whose passes are written by hand.

    Attributes:
        gates: (T, B, GH), the input's products, then the gates.
        grads: (T, B, GH), gradients by the arguments of the gates.
    """

    num_gates: ClassVar[int]

    def __init__(self, model: CharModel, number: int, time: int, batch: int) -> None:
        super().__init__(model, number, time, batch)
        self.gates = self._buffer(time, batch, self.num_gates)
        self.grads = self._buffer(time, batch, self.num_gates)
        self._input: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """See :meth:`Layer.forward`. The products of one-hot vectors are rows of a table."""
        self._input = x.flatten() if x.dim() == 2 else x.flatten(0, 1)
        gates, bias = self.gates.flatten(0, 1), self.bias_ih + self.bias_hh
        if x.dim() == 2:
            torch.index_select(self.weight_ih.t() + bias, 0, self._input, out=gates)
        else:
            torch.addmm(bias, self._input, self.weight_ih.t(), out=gates)
        self.run()
        return self.after

    def backward(self, grad_output: Tensor) -> Tensor | None:
        """See :meth:`Layer.backward`."""
        self.run_back(grad_output)
        grads = self.grads.flatten(0, 1)
        grad_bias = grads.sum(0)
        if self._input.dim() == 1:
            grad_weight = torch.zeros_like(self.weight_ih.t()).index_add_(0, self._input, grads).t()
        else:
            grad_weight = grads.t() @ self._input
        values = (grad_weight, self.grad_weight_hh(), grad_bias, grad_bias.clone())
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.grad = value
        return (grads @ self.weight_ih).view(*self.grads.shape[:2], -1) if self._input.dim() == 2 else None

    @abstractmethod
    def run(self) -> None:
        """Turn the products in ``gates`` into the gates, and fill the states."""

    @abstractmethod
    def run_back(self, grad_output: Tensor) -> None:
        """Fill ``grads``; the window's start cuts the gradient off."""

    def grad_weight_hh(self) -> Tensor:
        """Return the gradient of the recurrent weights, (GH, H)."""
        return self.grads.flatten(0, 1).t() @ self.before.flatten(0, 1)


class LSTM(ManualLayer):
    """Gates i, f, g, o."""

    num_gates = 4

    def __init__(self, model: CharModel, number: int, time: int, batch: int) -> None:
        super().__init__(model, number, time, batch)
        self.cells = self.states[0]
        self._candidates, self._tanh_cells = self._buffer(time, batch), self._buffer(time, batch)
        self._slopes = self._buffer(1, batch, self.num_gates)[0]
        self._grad_h, self._grad_c, self._product, self._square = self._buffer(4, batch)

    def run(self) -> None:
        """Take the sigmoid of all blocks at once, which is one piece of memory; the candidate is copied out before."""
        weight = self.weight_hh.t()
        steps = (self.gates, *self.gates.chunk(4, -1), self._candidates, self._tanh_cells)
        states = (self.before, self.cells[:-1], self.after, self.cells[1:])
        for gates, i, f, g, o, candidate, tanh_c, h, c, h_next, c_next in by_step(*steps, *states):
            gates.addmm_(h, weight)
            candidate.copy_(g).tanh_()
            gates.sigmoid_()
            torch.mul(f, c, out=c_next).addcmul_(i, candidate)
            torch.tanh(c_next, out=tanh_c)
            torch.mul(o, tanh_c, out=h_next)

    def run_back(self, grad_output: Tensor) -> None:
        """Go back through the window.

        With d for "gradient of the loss by", of the gates before their functions are applied backwards::

            d o = d h tanh(c')          d c' = d h o (1 - tanh(c')^2) + d c of the step after
            d i = d c' g                d f  = d c' c
            d g = d c' i                d c  = d c' f
        """
        grad_h, grad_c = self._grad_h.zero_(), self._grad_c.zero_()
        product, square, slopes = self._product, self._square, self._slopes
        steps = (self.gates, *self.gates.chunk(4, -1), self._candidates, self._tanh_cells, self.cells[:-1])
        back = list(by_step(*steps, self.grads, *self.grads.chunk(4, -1), grad_output))
        for gates, i, f, _, o, g, tanh_c, c, grads, grad_i, grad_f, grad_g, grad_o, from_loss in reversed(back):
            grad_h.add_(from_loss)
            torch.mul(grad_h, tanh_c, out=grad_o)
            torch.mul(grad_h, o, out=product)
            grad_c.add_(product).addcmul_(product, torch.mul(tanh_c, tanh_c, out=square), value=-1)
            torch.mul(grad_c, g, out=grad_i)
            torch.mul(grad_c, c, out=grad_f)
            grads.mul_(torch.addcmul(gates, gates, gates, value=-1, out=slopes))
            torch.mul(grad_c, i, out=product)
            torch.addcmul(product, product, torch.mul(g, g, out=square), value=-1, out=grad_g)
            grad_c.mul_(f)
            torch.mm(grads, self.weight_hh, out=grad_h)


class GRU(ManualLayer):
    """Gates r, z, n, the reset before the product; the steps are those of :mod:`char_rnn.torch7.cells`."""

    num_gates = 3

    def __init__(self, model: CharModel, number: int, time: int, batch: int) -> None:
        super().__init__(model, number, time, batch)
        self._reset_states = self._buffer(time, batch)

    def run(self) -> None:
        """Run the window."""
        run_steps(self.gates, self.hidden, self._reset_states, self.weight_hh)

    def run_back(self, grad_output: Tensor) -> None:
        """Go back through the window."""
        slopes(self.gates, self.before, out=self.grads)
        run_steps_back(self.grads, self.gates, grad_output, self.weight_hh)

    def grad_weight_hh(self) -> Tensor:
        """Return the gradient of the recurrent weights; the candidate's rows read the stored r h, not h."""
        return grad_weight_hh(self.grads.flatten(0, 1), self.before, self._reset_states)


class RNN(ManualLayer):
    """One block, tanh."""

    num_gates = 1

    def run(self) -> None:
        """Run the window."""
        weight = self.weight_hh.t()
        for gates, h, h_next in by_step(self.gates, self.before, self.after):
            torch.tanh(gates.addmm_(h, weight), out=h_next)

    def run_back(self, grad_output: Tensor) -> None:
        """Go back through the window: d a = d h' (1 - h'^2)."""
        grad_h = torch.zeros_like(self.before[0])
        for h_next, grads, from_loss in reversed(list(by_step(self.after, self.grads, grad_output))):
            grad_h.add_(from_loss)
            torch.addcmul(grad_h, grad_h, h_next * h_next, value=-1, out=grads)
            torch.mm(grads, self.weight_hh, out=grad_h)


class FusedLayer(Layer):
    """An LSTM or RNN layer in PyTorch's own kernels.

    Their backward pass reads the state before the window from the memory it was given in, so that :meth:`carry`
    between the passes acts on it as it does on the others. PyTorch would refuse a tensor changed under it; through
    ``data`` it does not notice.
    """

    def __init__(self, model: CharModel, number: int, time: int, batch: int) -> None:
        super().__init__(model, number, 1, batch)
        self._function, self._embedding = _PYTORCH[model.cell.name], model.embedding
        self._input: Tensor
        self._output: Tensor

    def carry(self) -> None:
        """See :meth:`Layer.carry`."""
        for state in self.states:
            state.data[0].copy_(state.data[-1])

    def forward(self, x: Tensor) -> Tensor:
        """See :meth:`Layer.forward`."""
        vectors = self._embedding(x, self.hidden.dtype) if x.dim() == 2 else x.detach()
        training = torch.is_grad_enabled()
        self._input = vectors.requires_grad_(training and x.dim() == 3)
        before = tuple(state[:1] for state in reversed(self.states))
        start = before if len(before) > 1 else before[0]
        function, weights = self._function, self.parameters
        self._output, *after = function(self._input, start, weights, True, 1, 0.0, training, False, False)
        for state, value in zip(reversed(self.states), after, strict=True):
            state.data[-1:].copy_(value.detach())
        return self._output.detach()

    def backward(self, grad_output: Tensor) -> Tensor | None:
        """See :meth:`Layer.backward`."""
        wanted = [*self.parameters, *([self._input] if self._input.requires_grad else [])]
        grads = torch.autograd.grad(self._output, wanted, grad_output)
        for parameter, grad in zip(self.parameters, grads, strict=False):
            parameter.grad = grad
        return grads[-1] if self._input.requires_grad else None


_PYTORCH: dict[str, Any] = {"lstm": torch.lstm, "rnn": torch.rnn_tanh}
_MANUAL: dict[str, type[ManualLayer]] = {"lstm": LSTM, "gru": GRU, "rnn": RNN}


def make_layer(model: CharModel, number: int, time: int, batch: int) -> Layer:
    """Return the fastest layer there is for the model's cell, precision and device."""
    weight = model.output_proj.weight
    on_cpu, single = weight.device.type == "cpu", weight.dtype == torch.float32
    fused = model.cell.name != "gru" and (not on_cpu or (model.cell.name == "lstm" and single))
    return (FusedLayer if fused else _MANUAL[model.cell.name])(model, number, time, batch)
