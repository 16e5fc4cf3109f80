"""The 2015 model over one window at a time, forward and backward, with the 2015 program's aliasing.

The program keeps T clones of the network and passes the state from window to window *by reference*: the state before a
window is the very tensor that the last clone writes to. This has two effects, and both are in its numbers:

* **The overwritten state.** When the backward pass of a window reaches the first step, the state before it has been
  overwritten with the state after the last. Every gradient that needs its *value* is computed from the wrong one: at
  the first step only, the gradient of the recurrent weights, of an LSTM's forget gate, and of a GRU's reset and update
  gates. Here: `carry` runs before the backward pass, not after it. The very first window starts from separate zeros,
  and is right.
* **The validation's state.** An evaluation runs through the same clones, so training continues from the state after the
  last *validation* batch. Here: both use the same buffers.

The modern trainer does neither.

Dimensions: B batch, T time, V vocabulary, H hidden, L layers.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from char_rnn.models.char_model import CharModel, Hidden, state_parts
from char_rnn.torch7.cells import WindowLayer, make_layer


class UnrolledNetwork:
    """Runs a model with a one-hot embedding over windows of one size, and sets the gradients of its parameters.

    Attributes:
        fresh: No window has run yet: the state before the next one is zeros that nothing will overwrite.
    """

    def __init__(self, model: CharModel, time: int, batch: int) -> None:
        self.model, self.time, self.batch = model, time, batch
        self.layers = [make_layer(model, number, time, batch) for number in range(model.num_layers)]
        self._dropped = [layer.hidden.new_zeros(time, batch, model.hidden_size) for layer in self.layers]
        self._top: Tensor
        self.fresh = True

    @property
    def hidden(self) -> Hidden:
        """State before the next window, in the model's form: (L, B, H), for an LSTM a pair h, c."""
        parts = [torch.stack(states) for states in zip(*(self._starts(layer) for layer in self.layers), strict=True)]
        return parts[0] if len(parts) == 1 else tuple(parts)

    @hidden.setter
    def hidden(self, value: Hidden) -> None:
        for number, layer in enumerate(self.layers):
            for start, part in zip(self._starts(layer), state_parts(value), strict=True):
                start.copy_(part[number])
        self.fresh = False

    @staticmethod
    def _starts(layer: WindowLayer) -> list[Tensor]:
        """Return the state (B, H) before a layer's window: h, and c."""
        return [state.data[0] for state in reversed(layer.states)]

    def reset(self) -> None:
        """Start from zeros, as an evaluation does."""
        for layer in self.layers:
            for start in self._starts(layer):
                start.zero_()

    @torch.no_grad()
    def evaluate(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss of a window without dropout, and carry the state; see :meth:`train`."""
        loss = _loss(self._log_probs(x, None), y)
        self._carry()
        return loss

    def train(self, x: Tensor, y: Tensor, masks: Tensor | None = None) -> Tensor:
        """Run a window forward and backward.

        Args:
            x: Ids (B, T).
            y: Ids that follow, (B, T).
            masks: (T, L, B, H), dropout masks that multiply each layer's output; None for no dropout.

        Returns:
            The mean loss in nats per character, a scalar. The parameters' ``grad`` then hold the gradient of T times
            that loss: summed over time, averaged over the batch.
        """
        log_probs = self._log_probs(x, masks)
        loss = _loss(log_probs, y)
        fresh = self.fresh
        if not fresh:
            self._carry()
        with torch.no_grad():
            self._backward(y, log_probs, masks)
        if fresh:
            self._carry()
        return loss

    def _log_probs(self, x: Tensor, masks: Tensor | None) -> Tensor:
        """Run the window forward; (TB, V), time-major."""
        output = x.t().contiguous()
        for number, layer in enumerate(self.layers):
            output = layer.forward(output)
            if masks is not None:
                output = torch.mul(output, masks[:, number], out=self._dropped[number])
        self._top = output.flatten(0, 1)
        project = self.model.output_proj
        return F.log_softmax(F.linear(self._top, project.weight, project.bias).detach(), -1)

    def _carry(self) -> None:
        for layer in self.layers:
            layer.carry()
        self.fresh = False

    def _backward(self, y: Tensor, log_probs: Tensor, masks: Tensor | None) -> None:
        project = self.model.output_proj
        grad = log_probs.exp_()
        grad.scatter_add_(1, y.t().reshape(-1, 1), grad.new_full((len(grad), 1), -1)).div_(self.batch)
        project.weight.grad = grad.t() @ self._top
        project.bias.grad = grad.sum(0)
        grad_output: Tensor | None = (grad @ project.weight.detach()).view(self.time, self.batch, -1)
        for number in reversed(range(len(self.layers))):
            assert grad_output is not None
            if masks is not None:
                grad_output = grad_output * masks[:, number]
            grad_output = self.layers[number].backward(grad_output)


def _loss(log_probs: Tensor, y: Tensor) -> Tensor:
    return F.nll_loss(log_probs, y.t().flatten())
