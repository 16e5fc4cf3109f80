"""What operations take of the memory, and how much of it is still in use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def address(tensor: Tensor) -> int:
    """Where a tensor's storage lies, which it may share with others."""
    return tensor.untyped_storage().data_ptr()


class Storages(TorchDispatchMode):
    """Notes every storage that an operation makes while this is on, without holding it."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = {address(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = operation(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and address(leaf) not in given:
                storage = leaf.untyped_storage()
                self._made[address(leaf)] = StorageWeakRef(storage), storage.nbytes()
        return result

    def in_use(self) -> dict[int, int]:
        """The addresses of those that something still holds, with their bytes."""
        return {where: size for where, (storage, size) in self._made.items() if not storage.expired()}
