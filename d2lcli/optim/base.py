"""What the optimizers share: cached lists, three ways to step, state that a checkpoint can hold.

`torch.optim.Optimizer` guards its methods with decorators that import `torch._dynamo` (about two seconds) on their
first call, and its own subclasses gather their lists anew at each step.  `CachedOptimizer` calls the methods behind the
decorators and gathers the lists once; a step then only collects the gradients.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from d2lcli.optim.checks import check_parameter, check_state, require
from d2lcli.optim.packs import Group, Implementation, Pack, choose


def _undecorated(name: str) -> Callable[..., Any]:
    """The method of `torch.optim.Optimizer` without the decorator that imports `torch._dynamo`."""
    method = getattr(Optimizer, name)
    plain: Callable[..., Any] = getattr(method, "__wrapped__", method)
    return plain


_add_param_group = _undecorated("add_param_group")
_zero_grad = _undecorated("zero_grad")
_state_dict = _undecorated("state_dict")
_load_state_dict = _undecorated("load_state_dict")


class CachedOptimizer(Optimizer):
    """Base of the optimizers.  A subclass names its state and gives the three paths.

    Args:
        params: tensors, or group dictionaries that hold "params" and options of their own.
        defaults: the options of a group that does not give them.
        implementation: "fused" (one kernel call), "foreach" (one call per operation), "plain" (the reference, a loop
            over tensors that reads like the equations), or "auto", the fastest that fits.

    Raises:
        ValueError: no parameters, one twice, one that is not materialised or not floating point, or a bad option.
    """

    counts_steps = False

    def __init__(self, params: Iterable[Any], defaults: Group, implementation: Implementation = "auto") -> None:
        allowed = ("auto", "fused", "foreach", "plain")
        require("implementation", implementation, implementation in allowed, f"one of {', '.join(allowed)}")
        self.implementation = implementation
        self._packs: list[Pack] = []
        self._params: list[Tensor] = []
        super().__init__(params, defaults)

    # What a subclass gives.

    def state_names(self, group: Group) -> tuple[str, ...]:
        """The names of the state tensors, each of its parameter's shape."""
        raise NotImplementedError

    def start(self, name: str, group: Group) -> float:
        """The value that a state tensor begins with."""
        return 0.0

    def has_kernel(self, group: Group) -> bool:
        """Whether torch has a fused kernel for this method with these options."""
        return True

    def check_group(self, group: Group) -> None:
        """Raise a ValueError for a bad option."""
        raise NotImplementedError

    def step_fused(self, pack: Pack, grads: list[Tensor]) -> None:
        raise NotImplementedError

    def step_foreach(self, pack: Pack, grads: list[Tensor]) -> None:
        raise NotImplementedError

    def step_plain(self, pack: Pack, grads: list[Tensor]) -> None:
        raise NotImplementedError

    def step_sparse(self, pack: Pack, grads: list[Tensor]) -> None:
        """Update from sparse gradients, by default an error."""
        raise ValueError(
            f"{type(self).__name__} cannot use sparse gradients; use the sgd optimizer, or a dense embedding"
        )

    # Groups and packs.

    def add_param_group(self, param_group: Group) -> None:
        """Add a group; its state is allocated at once."""
        params = param_group["params"]
        param_group["params"] = [params] if isinstance(params, Tensor) else list(params)
        seen = {id(param) for param in self._params}
        for param in param_group["params"]:
            check_parameter(param[1] if isinstance(param, tuple) else param, seen)
        self.check_group(self.defaults | param_group)
        _add_param_group(self, param_group)
        self._params.extend(param_group["params"])
        self._pack(param_group)

    def _pack(self, group: Group) -> None:
        """Sort the parameters of `group` by device and type, and allocate their state."""
        kinds: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
        for param in group["params"]:
            kinds.setdefault((param.device, param.dtype), []).append(param)
        names = self.state_names(group)
        for (device, _), params in kinds.items():
            path = choose(self.implementation, params, self.has_kernel(self.defaults | group))
            state = {name: self._filled(params, self.start(name, self.defaults | group)) for name in names}
            pack = Pack(group, params, state, implementation=path)
            if self.counts_steps:
                # The fused kernels read the counts where the parameters are; the others compute with them in Python.
                counter = torch.zeros(len(params), dtype=torch.float32, device=device if path == "fused" else "cpu")
                pack = Pack(group, params, state, list(counter.unbind()), counter, path)
            self._packs.append(pack)
            self._publish(pack)

    @staticmethod
    def _filled(params: list[Tensor], value: float) -> list[Tensor]:
        return [torch.full_like(param, value, memory_format=torch.preserve_format) for param in params]

    def _publish(self, pack: Pack) -> None:
        """Show the tensors of the pack as `self.state`, where torch's tools look for them."""
        for i, param in enumerate(pack.params):
            entry = {name: tensors[i] for name, tensors in pack.state.items()}
            if pack.steps:
                entry = {"step": pack.steps[i]} | entry
            if entry:
                self.state[param] = entry

    # The hot path.

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient.

        Args:
            closure: clears the gradients, computes the loss, calls backward and returns the loss.

        Returns:
            What the closure returns, or None.
        """
        if (
            self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or _global_optimizer_pre_hooks
            or _global_optimizer_post_hooks
            or torch.autograd.profiler._is_profiler_enabled
        ):
            return self._observed_step(closure)
        return self._step(closure)

    step.hooked = True  # type: ignore[attr-defined]  # keeps torch from wrapping each call in a profiler record

    def _step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        # A third of the cost of entering torch.no_grad().
        recording = torch.is_grad_enabled()
        torch._C._set_grad_enabled(False)
        try:
            for pack in self._packs:
                grads = [param.grad for param in pack.params]
                if [None if g is None or g.is_sparse else g.stride() for g in grads] == pack.strides:
                    self._run(pack, grads)  # type: ignore[arg-type]
                else:
                    self._step_irregular(pack, grads)
        finally:
            torch._C._set_grad_enabled(recording)
        return loss

    _observed_step = Optimizer.profile_hook_step(_step)

    def _run(self, pack: Pack, grads: list[Tensor]) -> None:
        pack.advance()
        if pack.implementation == "fused":
            self.step_fused(pack, grads)
        elif pack.implementation == "foreach":
            for block, start, stop in pack.blocks():
                self.step_foreach(block, grads[start:stop])
        else:
            self.step_plain(pack, grads)

    def _step_irregular(self, pack: Pack, grads: list[Tensor | None]) -> None:
        """A step where a gradient is missing, sparse, or laid out in memory unlike its parameter.

        The fused CPU kernels walk raw memory and would pair the wrong elements of different layouts without a word.
        """
        if [param.stride() for param in pack.params] != pack.strides:
            self._follow_layout(pack)
        sparse = [i for i, grad in enumerate(grads) if grad is not None and grad.is_sparse]
        if sparse:
            self.step_sparse(pack.part(sparse), [grads[i].coalesce() for i in sparse])  # type: ignore[union-attr]
        dense: dict[int, Tensor] = {}
        for i, grad in enumerate(grads):
            if grad is not None and not grad.is_sparse:
                param = pack.params[i]
                dense[i] = grad if grad.stride() == param.stride() else torch.empty_like(param).copy_(grad)
        if dense:
            self._run(pack.part(list(dense)), list(dense.values()))

    def _follow_layout(self, pack: Pack) -> None:
        """Lay the state out like parameters that changed their memory format, say to channels_last, after the build."""
        for name, tensors in pack.state.items():
            pack.state[name] = [torch.empty_like(p).copy_(t) for p, t in zip(pack.params, tensors, strict=True)]
        pack.renew()
        self._publish(pack)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients, or set them to zero."""
        if not set_to_none:
            _zero_grad(self, False)
            return
        for param in self._params:
            param.grad = None

    # Saving and loading.

    def state_dict(self) -> dict[str, Any]:
        """`{"state": {index: {name: tensor}}, "param_groups": [options]}`: tensors, numbers and strings only."""
        found: dict[str, Any] = _state_dict(self)
        for index, entry in found["state"].items():
            if "step" in entry:
                # A copy: the counts of a pack share one storage, which file formats for tensors refuse.
                found["state"][index] = entry | {"step": entry["step"].clone()}
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Copy a saved state into the tensors that exist; training continues bit for bit.

        Raises:
            ValueError: the groups, the parameters, or the names or shapes of the state differ.
        """
        _load_state_dict(self, state_dict)

    def _adopt(self, loaded: dict[Tensor, dict[str, Any]], groups: list[Group]) -> None:
        """Take over state and groups that torch has matched to the parameters; what is wrong changes nothing."""
        unknown = [str(key) for key in loaded if not isinstance(key, Tensor)]
        if unknown:
            raise ValueError(f"the loaded state has parameters that do not exist: {', '.join(unknown[:5])}")
        for i, (old, new) in enumerate(zip(self.param_groups, groups, strict=True)):
            self.check_group(old | new)
            check_state(i, old["params"], self.state, loaded)
        for old, new in zip(self.param_groups, groups, strict=True):
            old.update(new)
        with torch.no_grad():
            for param, entry in loaded.items():
                for name, value in entry.items():
                    self.state[param][name].copy_(torch.as_tensor(value))

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"implementation": self.implementation}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_packs" in self.__dict__:
            self._adopt(state["state"], state["param_groups"])
            return
        self._packs, self._params = [], []
        groups, loaded = state["param_groups"], state["state"]
        super().__setstate__(state)
        self.state = type(loaded)(dict)
        for group in groups:
            self._params.extend(group["params"])
            self._pack(group)
        self._adopt(loaded, [dict(group) for group in groups])
