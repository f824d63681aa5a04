"""Devices that are not there: tensors that claim one, and errors where they would not go together.

Everything is computed on the CPU. What PyTorch would refuse on an accelerator is refused here: an
operation over tensors of two devices (but for numbers without dimensions, and indices on the CPU),
an index on another device than the CPU or the indexed tensor, and `numpy()` of a tensor elsewhere.
"""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.weak import WeakIdKeyDictionary

CPU = torch.device("cpu")
_TENSOR = torch.Tensor
_COPIES = {_TENSOR.copy_}  # between any two devices
_INDEXING = {_TENSOR.__getitem__, _TENSOR.__setitem__}


class PretendedDevices(TorchFunctionMode):
    """While it is entered, tensors say that they are where `place` put them."""

    def __init__(self) -> None:
        super().__init__()
        self._claims: Any = WeakIdKeyDictionary()

    def place(self, module: torch.nn.Module, device: str) -> None:
        """Claim that a module's parameters and buffers are on a device."""
        for tensor in (*module.parameters(), *module.buffers()):
            self._claims[tensor] = torch.device(device)

    def of(self, tensor: torch.Tensor) -> torch.device:
        """The device that a tensor claims."""
        return self._claims.get(tensor, CPU)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.device:
            return func(*args, **kwargs)
        if func == _TENSOR.device.__get__:
            return self.of(args[0])
        if func is _TENSOR.numpy and self.of(args[0]) != CPU:
            raise TypeError(f"can't convert {self.of(args[0])} device type tensor to numpy")
        if func is _TENSOR.cpu:
            return args[0].clone()
        tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, _TENSOR)]
        target = self._target(func, args, kwargs)
        if target is None:
            target = self._common(func, args, tensors)
        args, kwargs = tree_map(_on_cpu, (args, kwargs))
        result = func(*args, **kwargs)
        for made in tree_flatten(result)[0]:
            if isinstance(made, _TENSOR):
                self._claims[made] = target
        return result

    def _target(self, func: Any, args: tuple[Any, ...], kwargs: Any) -> torch.device | None:
        """The device that an operation names, if it names one."""
        if func is _TENSOR.to and len(args) > 1 and isinstance(args[1], _TENSOR):
            return self.of(args[1])
        named = kwargs.get("device")
        if named is None and func is _TENSOR.to:
            named = next((x for x in args[1:] if isinstance(x, torch.device | str)), None)
        return None if named is None else torch.device(named)

    def _common(self, func: Any, args: tuple[Any, ...], tensors: list[Any]) -> torch.device:
        if func in _COPIES:
            return self.of(args[0])
        if func in _INDEXING:
            self._check_indices(func, args)
            return self.of(args[0])
        found = {self.of(tensor) for tensor in tensors if tensor.dim() or self.of(tensor) != CPU}
        if len(found) > 1:
            name = getattr(func, "__name__", func)
            raise RuntimeError(f"{name}: expected all tensors to be on the same device: {found}")
        return found.pop() if found else CPU

    def _check_indices(self, func: Any, args: tuple[Any, ...]) -> None:
        own, indices = self.of(args[0]), tree_flatten(args[1])[0]
        advanced = [x for x in indices if isinstance(x, _TENSOR) and x.dim()]
        if any(self.of(index) not in (CPU, own) for index in advanced):
            raise RuntimeError(f"indices should be on cpu or on {own}")
        is_list = any(isinstance(x, list) for x in (args[1], *indices))
        value = args[2] if func is _TENSOR.__setitem__ else None
        written = isinstance(value, _TENSOR) and value.dim() and (advanced or is_list)
        if written and self.of(value) != own:
            raise RuntimeError(f"index_put: expected the values to be on {own}")


def _on_cpu(x: Any) -> Any:
    if isinstance(x, torch.device):
        return CPU
    return "cpu" if isinstance(x, str) and x.startswith("cuda") else x
