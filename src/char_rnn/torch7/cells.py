"""The recurrent layers of the 2015 program: forward and backward through a window, in buffers that are allocated once.

Each layer keeps its states time-major: ``before`` and ``after`` are the hidden states around each step, two views of
one buffer of T + 1. :meth:`WindowLayer.carry` copies the last state to the front, where the next window begins. Called
between forward and backward it overwrites what the backward pass reads there, as the 2015 program does.

On the CPU the passes are written by hand: with no allocation in the loops and one contiguous block per step, float64 is
1.3 to 1.6 times as fast as the loop derived from the cells' equations, and as fast as the original. :class:`FusedLayer`
calls PyTorch's kernels where those are faster: an LSTM in float32 (oneDNN), and accelerators (cuDNN).

Dimensions: B batch, T time, I input size, H hidden, G gates of the cell.

In the derivations d is "gradient of the loss with respect to", and a_g the pre-activation of gate g.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from char_rnn.models import CharModel


class WindowLayer(ABC):
    """One recurrent layer of a model, numbered from 0, and its buffers for a window.

    It reads the model's parameters and sets their gradients.

    Attributes:
        states: Buffers (T + 1, B, H) of c and h, or of h alone.
        hidden: That of h.
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
        """Copy the state after the window to the state before it; ``data`` hides that from autograd."""
        for state in self.states:
            state.data[0].copy_(state.data[-1])

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs (T, B, H) of a window of ids (T, B) or vectors (T, B, I)."""

    @abstractmethod
    def backward(self, grad_output: Tensor) -> Tensor | None:
        """Set the parameters' gradients from that of the outputs; return the input's, None if it was ids."""


class ManualLayer(WindowLayer):
    """A layer whose passes are written by hand.

    Attributes:
        gates: (T, B, GH), products with the input, then the gates.
        grads: (T, B, GH), gradients of the pre-activations.
    """

    num_gates: ClassVar[int]

    def __init__(self, model: CharModel, number: int, time: int, batch: int) -> None:
        super().__init__(model, number, time, batch)
        self.gates = self._buffer(time, batch, self.num_gates)
        self.grads = self._buffer(time, batch, self.num_gates)
        self._input: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """See :meth:`WindowLayer.forward`. The products with one-hot vectors are rows of a table."""
        self._input = x.flatten() if x.dim() == 2 else x.flatten(0, 1)
        gates, bias = self.gates.flatten(0, 1), self.bias_ih + self.bias_hh
        if x.dim() == 2:
            torch.index_select(self.weight_ih.t() + bias, 0, self._input, out=gates)
        else:
            torch.addmm(bias, self._input, self.weight_ih.t(), out=gates)
        self._run()
        return self.after

    def backward(self, grad_output: Tensor) -> Tensor | None:
        """See :meth:`WindowLayer.backward`."""
        self._run_back(grad_output)
        grads = self.grads.flatten(0, 1)
        grad_bias = grads.sum(0)
        if self._input.dim() == 1:
            grad_weight = torch.zeros_like(self.weight_ih.t()).index_add_(0, self._input, grads).t()
        else:
            grad_weight = grads.t() @ self._input
        values = (grad_weight, self._grad_weight_hh(grads.t()), grad_bias, grad_bias.clone())
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.grad = value
        return (grads @ self.weight_ih).view(*self.grads.shape[:2], -1) if self._input.dim() == 2 else None

    @abstractmethod
    def _run(self) -> None:
        """Turn the products in ``gates`` into the gates, and fill the states."""

    @abstractmethod
    def _run_back(self, grad_output: Tensor) -> None:
        """Fill ``grads``; the gradient is truncated at the window's start."""

    def _grad_weight_hh(self, grads: Tensor) -> Tensor:
        """Return the gradient of the recurrent weights, (GH, H), from ``grads`` as (GH, TB)."""
        return grads @ self.before.flatten(0, 1)


class ManualLSTM(ManualLayer):
    """Gates i, f, g, o."""

    num_gates = 4

    def __init__(self, model: CharModel, number: int, time: int, batch: int) -> None:
        super().__init__(model, number, time, batch)
        self.cells = self.states[0]
        self._candidates, self._tanh_cells = self._buffer(time, batch), self._buffer(time, batch)
        self._slopes = self._buffer(1, batch, self.num_gates)[0]
        self._grad_h, self._grad_c, self._product, self._square = self._buffer(4, batch)

    def _run(self) -> None:
        """The sigmoid of all blocks is one call on contiguous memory; the candidate is copied out before it."""
        weight = self.weight_hh.t()
        steps = (self.gates, *self.gates.chunk(4, -1), self._candidates, self._tanh_cells)
        states = (self.before, self.cells[:-1], self.after, self.cells[1:])
        for gates, i, f, g, o, candidate, tanh_c, h, c, h_next, c_next in _by_step(*steps, *states):
            gates.addmm_(h, weight)
            candidate.copy_(g).tanh_()
            gates.sigmoid_()
            torch.mul(f, c, out=c_next).addcmul_(i, candidate)
            torch.tanh(c_next, out=tanh_c)
            torch.mul(o, tanh_c, out=h_next)

    def _run_back(self, grad_output: Tensor) -> None:
        """Go back through the window; the slopes of the gates are applied last.

        ::

            d o = d h tanh(c')          d c' = d h o (1 - tanh(c')^2) + d c of the step after
            d i = d c' g                d f  = d c' c
            d g = d c' i                d c  = d c' f
        """
        grad_h, grad_c = self._grad_h.zero_(), self._grad_c.zero_()
        product, square, slopes = self._product, self._square, self._slopes
        steps = (self.gates, *self.gates.chunk(4, -1), self._candidates, self._tanh_cells, self.cells[:-1])
        back = list(_by_step(*steps, self.grads, *self.grads.chunk(4, -1), grad_output))
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


class ManualGRU(ManualLayer):
    """Gates r, z, n, with the reset before the recurrent product."""

    num_gates = 3

    def __init__(self, model: CharModel, number: int, time: int, batch: int) -> None:
        super().__init__(model, number, time, batch)
        self._reset_states = self._buffer(time, batch)  # r h

    def _run(self) -> None:
        weight_rz, weight_n = _rz(self.weight_hh, 0).t(), self.weight_hh.chunk(3)[2].t()
        steps = (_rz(self.gates), *self.gates.chunk(3, -1), self.before, self._reset_states, self.after)
        for rz, r, z, n, h, rh, h_next in _by_step(*steps):
            rz.addmm_(h, weight_rz).sigmoid_()
            torch.mul(r, h, out=rh)
            n.addmm_(rh, weight_n).tanh_()
            torch.lerp(n, h, z, out=h_next)

    def _run_back(self, grad_output: Tensor) -> None:
        """Go back through the window, after what does not depend on the step before is computed for all steps at once.

        ::

            d a_n = d h' (1 - z) (1 - n^2)              d a_z = d h' (h - n) z (1 - z)
            d(rh) = W_hn^T d a_n                        d a_r = d(rh) h r (1 - r)
            d h   = d h' z + d(rh) r + W_hr^T d a_r + W_hz^T d a_z
        """
        r, z, n = self.gates.chunk(3, -1)
        slope_r, slope_z, slope_n = self.grads.chunk(3, -1)
        torch.mul(torch.addcmul(r, r, r, value=-1), self.before, out=slope_r)
        torch.mul(torch.addcmul(z, z, z, value=-1), self.before - n, out=slope_z)
        renewed = 1 - z
        torch.addcmul(renewed, renewed * n, n, value=-1, out=slope_n)
        weight_rz, weight_n = _rz(self.weight_hh, 0), self.weight_hh.chunk(3)[2]
        grad_h = torch.zeros_like(self.before[0])
        back = list(_by_step(_rz(self.grads), slope_r, slope_z, slope_n, r, z, grad_output))
        for grad_rz, grad_r, grad_z, grad_n, r_t, z_t, from_loss in reversed(back):
            grad_h.add_(from_loss)
            grad_n.mul_(grad_h)
            grad_z.mul_(grad_h)
            grad_rh = grad_n.mm(weight_n)
            grad_r.mul_(grad_rh)
            grad_h.mul_(z_t).addcmul_(grad_rh, r_t).addmm_(grad_rz, weight_rz)

    def _grad_weight_hh(self, grads: Tensor) -> Tensor:
        """The candidate's rows read the stored r h, not h."""
        of_n = grads.chunk(3)[2] @ self._reset_states.flatten(0, 1)
        return torch.cat([super()._grad_weight_hh(_rz(grads, 0)), of_n])


class ManualRNN(ManualLayer):
    """One block, tanh."""

    num_gates = 1

    def _run(self) -> None:
        weight = self.weight_hh.t()
        for gates, h, h_next in _by_step(self.gates, self.before, self.after):
            torch.tanh(gates.addmm_(h, weight), out=h_next)

    def _run_back(self, grad_output: Tensor) -> None:
        """Go back through the window: d a = d h' (1 - h'^2)."""
        grad_h = torch.zeros_like(self.before[0])
        for h_next, grads, from_loss in reversed(list(_by_step(self.after, self.grads, grad_output))):
            grad_h.add_(from_loss)
            torch.addcmul(grad_h, grad_h, h_next * h_next, value=-1, out=grads)
            torch.mm(grads, self.weight_hh, out=grad_h)


def _rz(blocks: Tensor, dim: int = -1) -> Tensor:
    """Return the blocks r and z, of r, z, n side by side, as one view."""
    return blocks.narrow(dim, 0, blocks.shape[dim] // 3 * 2)


def _by_step(*buffers: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Iterate over time-major buffers. Unbinding makes all views in one call, cheaper than a slice for each step."""
    return zip(*(buffer.unbind() for buffer in buffers), strict=True)


class FusedLayer(WindowLayer):
    """An LSTM or RNN layer in PyTorch's kernels.

    Their backward pass reads the state before the window from the memory that the forward pass was given, so
    :meth:`carry` between the passes has its effect here too.
    """

    def __init__(self, model: CharModel, number: int, time: int, batch: int) -> None:
        super().__init__(model, number, 1, batch)
        self._function, self._embedding = _PYTORCH[model.cell.name], model.embedding
        self._input: Tensor
        self._output: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """See :meth:`WindowLayer.forward`."""
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
        """See :meth:`WindowLayer.backward`."""
        wanted = [*self.parameters, *([self._input] if self._input.requires_grad else [])]
        grads = torch.autograd.grad(self._output, wanted, grad_output)
        for parameter, grad in zip(self.parameters, grads, strict=False):
            parameter.grad = grad
        return grads[-1] if self._input.requires_grad else None


_PYTORCH: dict[str, Any] = {"lstm": torch.lstm, "rnn": torch.rnn_tanh}
MANUAL: dict[str, type[ManualLayer]] = {"lstm": ManualLSTM, "gru": ManualGRU, "rnn": ManualRNN}


def make_layer(model: CharModel, number: int, time: int, batch: int) -> WindowLayer:
    """Return the fastest layer for the model's cell, precision and device."""
    weight = model.output_proj.weight
    on_cpu, single = weight.device.type == "cpu", weight.dtype == torch.float32
    fused = model.cell.name != "gru" and (not on_cpu or (model.cell.name == "lstm" and single))
    return (FusedLayer if fused else MANUAL[model.cell.name])(model, number, time, batch)
