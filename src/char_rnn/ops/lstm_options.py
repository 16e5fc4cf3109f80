"""The fast path of the LSTM with layer normalization inside the cell and zoneout.

PyTorch has no kernel for it. Here it is made of tensor operations, with back-propagation through time written by hand;
in float32 on the CPU, what a step does beside its matrix product is one call of our own, where the kernels are built
(:mod:`char_rnn.ops.lstm_kernels`). What does not depend on the step before (the products with the input, the gradients
of the weights and of the gains) is one large operation over all steps, and the loops hold the rest.

Dimensions: B batch, T time, I input size, H hidden; buffers are time-major, so that a step is one block of memory.

With a for what comes from the input, N for a normalization, c~ and h~ for what the cell makes of its state, and k for
zoneout's updates. The candidate tanh(a) is 2 sigmoid(2a) - 1, so that one sigmoid serves all four gates: its rows of a
and of N(U h) are doubled, and s stands for what the sigmoid makes of them::

    i, f, s, o = sigmoid(a + N(U h))    c~ = f c + i (2s - 1)       c' = c + k_c (c~ - c)
                                        h~ = o tanh(N(c~))          h' = h + k_h (h~ - h)

With d for "gradient of the loss with respect to", N^T for the way back through N, and a_i, a_f, a_s, a_o
for the arguments of the sigmoid::

    d h~  = k_h d h'                    d c~  = k_c d c' + N^T(d h~ o (1 - tanh(N(c~))^2))
    d a_i = d c~ (2s - 1) i (1 - i)     d a_s = d c~ 2i s (1 - s)
    d a_f = d c~ c f (1 - f)            d a_o = d h~ tanh(N(c~)) o (1 - o)
    d c   = d c~ f + (1 - k_c) d c'     d h   = U^T N^T(d a) + (1 - k_h) d h'
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from char_rnn.ops import lstm_kernels
from char_rnn.ops.cell_options import (
    LSTMNorm,
    Moments,
    Update,
    grad_of_gain,
    grad_of_weight,
    linear,
    normalized,
    normalized_back,
    over_steps,
    product,
    product_back,
    sigmoid_back,
    tanh_back,
    zoneout_over_time,
)
from char_rnn.ops.time_major import by_step, by_step_back

State = tuple[Tensor, Tensor]


def lstm_options(
    x: Tensor,
    hidden: State,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    *,
    norm: LSTMNorm | None,
    zoneout: tuple[Update, Update] | None,
) -> tuple[Tensor, State]:
    """Run one layer; arguments and results are those of :func:`char_rnn.ops.lstm.lstm_reference`."""
    weight_ih, weight_hh, bias, norm = doubled(weight_ih, weight_hh, bias_ih + bias_hh, norm)
    gain_ih, *gains = norm or (None,) * 4
    arguments = linear(x.transpose(0, 1), weight_ih, bias, gain_ih)
    updates = [zoneout_over_time(k, arguments) for k in zoneout or (None, None)]
    output, c = _LSTM.apply(arguments, *hidden, weight_hh, *gains, *updates)  # type: ignore[no-untyped-call]
    return output, (output[:, -1], c)


def doubled(
    weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, norm: LSTMNorm | None
) -> tuple[Tensor, Tensor, Tensor, LSTMNorm | None]:
    """Double the candidate's rows in what makes the arguments of the gates: the gains, else the weights; the bias."""
    factors = torch.ones_like(bias)
    factors.chunk(4)[2].fill_(2)
    if norm is None:
        return weight_ih * factors[:, None], weight_hh * factors[:, None], bias * factors, None
    norm = norm._replace(gain_ih=norm.gain_ih * factors, gain_hh=norm.gain_hh * factors)
    return weight_ih, weight_hh, bias * factors, norm


class Tape(NamedTuple):
    """What the way forward keeps for the way back, of all steps or, without T, of one."""

    h: Tensor
    """(T, B, H), before the step."""
    c: Tensor
    """(T, B, H), before the step."""
    gates: Tensor
    """(T, B, 4H), i, f, s, o."""
    new_c: Tensor
    """(T, B, H), c~."""
    squashed: Tensor
    """(T, B, H), tanh(N(c~))."""
    k_h: Tensor | None
    """(T, B, H) or (T, 1, 1), where there is zoneout, as k_c."""
    k_c: Tensor | None
    product: Any = None
    """(T, B, 4H), U h, where it is normalized."""
    mean: Any = None
    """(T, B, 1), of U h; rstd is the reciprocal of the standard deviation."""
    rstd: Any = None
    mean_c: Any = None
    """(T, B, 1), of c~, likewise."""
    rstd_c: Any = None

    @classmethod
    def of(
        cls, h: Tensor, c: Tensor, k_h: Tensor | None, k_c: Tensor | None, *, normalizes: bool, time: int
    ) -> tuple[Tensor, Tensor, Tape]:
        """Make room for T steps from h and c on; return all h and all c, (T + 1, B, H), and a tape without moments."""
        batch, hidden = h.shape
        states, cells = h.new_empty(2, time + 1, batch, hidden)
        states[0], cells[0] = h, c
        gates = h.new_empty(time, batch, 4 * hidden)
        new_c = cells[1:] if k_c is None else torch.empty_like(cells[1:])
        rows = torch.empty_like(gates) if normalizes else None
        return states, cells, cls(states[:-1], cells[:-1], gates, new_c, torch.empty_like(new_c), k_h, k_c, rows)

    def with_room_for_moments(self) -> Tape:
        """Add uninitialized moments, where there is a product to be normalized."""
        if self.product is None:
            return self
        mean, rstd, mean_c, rstd_c = self.gates.new_empty(4, *self.gates.shape[:2], 1)
        return self._replace(mean=mean, rstd=rstd, mean_c=mean_c, rstd_c=rstd_c)

    def with_moments(self, moments_hh: Moments, moments_c: Moments) -> Tape:
        """Add what was noted step by step; nothing where nothing was normalized."""
        mean, rstd = over_steps(moments_hh)
        mean_c, rstd_c = over_steps(moments_c)
        return self._replace(mean=mean, rstd=rstd, mean_c=mean_c, rstd_c=rstd_c)


class _LSTM(torch.autograd.Function):
    """(T, B, 4H) a, (B, H) h and c, (4H, H) U, two gains and a bias, updates to (B, T, H) output and the last c."""

    @staticmethod
    def forward(
        ctx: Any,
        arguments: Tensor,
        h: Tensor,
        c: Tensor,
        weight_hh: Tensor,
        gain_hh: Tensor | None,
        gain_c: Tensor | None,
        bias_c: Tensor | None,
        k_h: Tensor | None,
        k_c: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        states, cells, tape = Tape.of(h, c, k_h, k_c, normalizes=gain_hh is not None, time=len(arguments))
        ctx.by_kernels = lstm_kernels.can_run(arguments, h, c, weight_hh, gain_hh, k_h, k_c)
        if ctx.by_kernels:
            tape = tape.with_room_for_moments()
            arrays = tape._replace(h=states, c=cells)._asdict()
            lstm_kernels.forth(weight_hh, gain_hh=gain_hh, gain_c=gain_c, bias_c=bias_c, arguments=arguments, **arrays)
            ctx.save_for_backward(weight_hh, gain_hh, gain_c, *tape)
            return states[1:].transpose(0, 1), cells[-1].clone()
        moments_hh: Moments = []
        moments_c: Moments = []
        for a, h_next, c_next, *kept in by_step(arguments, states[1:], cells[1:], *tape):
            step = Tape(*kept)
            torch.sigmoid(product(step.h, weight_hh, a, gain_hh, step.product, moments_hh), out=step.gates)
            run_cell(step, gain_c, bias_c, moments_c, h_next, c_next)
        ctx.save_for_backward(weight_hh, gain_hh, gain_c, *tape.with_moments(moments_hh, moments_c))
        return states[1:].transpose(0, 1), cells[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor, grad_c: Tensor) -> tuple[Tensor | None, ...]:
        weight_hh, gain_hh, gain_c, *kept = ctx.saved_tensors
        tape = Tape(*kept)
        grads = torch.empty_like(tape.gates)
        grads_product = grads if gain_hh is None else torch.empty_like(grads)
        grad_c = grad_c.clone(memory_format=torch.contiguous_format)
        grad_h, from_loss = torch.zeros_like(grad_c), grad_output.transpose(0, 1)
        if ctx.by_kernels:
            gains = {"gain_hh": gain_hh, "gain_c": gain_c, "grad_arguments": grads, "grad_product": grads_product}
            of_state = {"grad_h": grad_h, "grad_c": grad_c, "from_loss": from_loss}
            grads_of_gains = lstm_kernels.back(weight_hh, **gains, **of_state, **tape._asdict())
        else:
            grads_shown = torch.empty_like(tape.squashed)
            buffers = (grads, grads_product, grads_shown, from_loss, *tape)
            for grad_a, grad_product, grad_shown, from_loss_t, *kept in by_step_back(*buffers):
                step = Tape(*kept)
                run_cell_back(step, gain_c, grad_h.add_(from_loss_t), grad_c, grad_a, grad_shown)
                product_back(grad_a, gain_hh, step.product, step.mean, step.rstd, out=grad_product)
                grad_h.addmm_(grad_product, weight_hh, beta=0 if step.k_h is None else 1)
            grads_of_gains = grads_of_norm(tape, grads, grads_shown, gain_hh, gain_c)
        grad_weight_hh = grad_of_weight(grads_product, tape.h) if ctx.needs_input_grad[3] else None
        return grads, grad_h, grad_c, grad_weight_hh, *grads_of_gains, None, None


def run_cell(
    step: Tape, gain_c: Tensor | None, bias_c: Tensor | None, moments_c: Moments, h_next: Tensor, c_next: Tensor
) -> None:
    """Go on from the gates, and fill in h' and c', (B, H)."""
    i, f, s, o = step.gates.chunk(4, -1)
    shown = torch.mul(f, step.c, out=step.new_c).addcmul_(i, s, value=2).sub_(i)
    if gain_c is not None:
        shown = normalized(step.new_c, gain_c, bias_c, moments_c)
    torch.mul(o, torch.tanh(shown, out=step.squashed), out=h_next)
    if step.k_h is not None and step.k_c is not None:
        torch.lerp(step.h, h_next, step.k_h, out=h_next)
        torch.lerp(step.c, step.new_c, step.k_c, out=c_next)


def run_cell_back(
    step: Tape, gain_c: Tensor | None, grad_h: Tensor, grad_c: Tensor, grad_a: Tensor, grad_shown: Tensor
) -> None:
    """Go back through :func:`run_cell`.

    Args:
        step: What it kept.
        gain_c: (H,), where c~ is normalized.
        grad_h: (B, H), d h', becomes what zoneout hands on of it; of no meaning without zoneout.
        grad_c: (B, H), d c', becomes d c.
        grad_a: (B, 4H), filled with d a.
        grad_shown: (B, H), filled with the gradient of N(c~).
    """
    i, f, s, o = step.gates.chunk(4, -1)
    grad_i, grad_f, grad_s, grad_o = grad_a.chunk(4, -1)
    grad_new_h, grad_new_c = grad_h, grad_c
    if step.k_h is not None and step.k_c is not None:
        grad_new_h, grad_new_c = grad_h * step.k_h, grad_c * step.k_c
        grad_h.sub_(grad_new_h)
        grad_c.sub_(grad_new_c)
    torch.mul(grad_new_h, step.squashed, out=grad_o)
    tanh_back(grad_new_h * o, step.squashed, grad_input=grad_shown)
    if gain_c is None:
        grad_new_c.add_(grad_shown)
    else:
        grad_new_c.add_(normalized_back(grad_shown, gain_c, step.new_c, step.mean_c, step.rstd_c))
    torch.mul(grad_new_c, step.c, out=grad_f)
    torch.add(grad_new_c, grad_new_c, out=grad_i)
    torch.mul(grad_i, i, out=grad_s)
    grad_i.mul_(s).sub_(grad_new_c)
    sigmoid_back(grad_a, step.gates, grad_input=grad_a)
    if step.k_c is None:
        grad_c.mul_(f)
    else:
        grad_c.addcmul_(grad_new_c, f)


def grads_of_norm(
    tape: Tape, grads: Tensor, grads_shown: Tensor, gain_hh: Tensor | None, gain_c: Tensor | None
) -> tuple[Tensor | None, ...]:
    """Return the gradients of gain_hh, gain_c and bias_c, from d a and those of N(c~) of all steps."""
    if gain_hh is None or gain_c is None:
        return None, None, None
    grad_gain_hh = grad_of_gain(grads, gain_hh, tape.product, tape.mean, tape.rstd)
    grad_gain_c = grad_of_gain(grads_shown, gain_c, tape.new_c, tape.mean_c, tape.rstd_c)
    return grad_gain_hh, grad_gain_c, grads_shown.sum((0, 1))
