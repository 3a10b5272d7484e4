"""Parameter servers: workers push gradients by key and pull what servers make of them (Li et al., 2014; d2l 13.7).

Of m + n processes the first m are workers, each with its part of every batch, and the last n are servers, over which
the keys (names of parameters) are spread.  Everything travels by send and receive over gloo.

sync   A server adds up the gradients of all workers, in the order of ranks, and gives their mean back; workers then
       update as in ddp, to which this is equal.
async  A server owns the weights of its keys and applies each worker's gradient as soon as it comes; the worker pulls
       the weights as they then are.  The others' gradients of the same update may be in them or not.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from d2lcli.parallel.collectives import KeyValueStore, spread_keys
from d2lcli.parallel.processes import Processes

Mode = Literal["sync", "async"]

END, PUSH, PULL, STATE, LOAD = range(5)  # what a worker asks a server for


class ParameterServer(Processes):
    """Arguments: see `parameter_server`.

    Attributes:
        serves: whether this process is a server.
        world_size: the number of workers: servers do not train.
    """

    name = "parameter_server"
    backend = "gloo"

    def __init__(self, timeout: float, device: torch.device | None, servers: int, mode: Mode) -> None:
        super().__init__(timeout, device)
        if servers >= self.world_size:
            raise ValueError(
                f"servers={servers} leaves no worker of {self.world_size} processes; set hardware.devices to workers + "
                "servers"
            )
        self.mode: Mode = mode
        self.num_servers = servers
        self.world_size = self.data_size = workers = self.world_size - servers
        self.serves = self.rank >= workers
        self.data_rank = 0 if self.serves else self.rank
        self.data_group = dist.new_group(range(workers), backend="gloo", timeout=self.limit)
        self.flags = dist.new_group(range(workers), backend="gloo", timeout=self.limit)
        self.note = f"workers: {workers}, parameter servers: {servers}, {mode}"
        self._loaded = False

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model itself; its parameters get their keys."""
        self._named = {name: each for name, each in model.named_parameters() if each.requires_grad}
        sizes = {name: each.numel() for name, each in self._named.items()}
        self._server_of = spread_keys(sizes, self.num_servers)
        return model

    def bind(self, optimizer: torch.optim.Optimizer) -> None:
        """The optimizer whose steps the servers make in async mode."""
        self._optimizer = optimizer

    # A worker.

    def collect(self) -> None:
        """Push the gradients, and pull their means; in async mode pull weights, and leave the optimizer nothing."""
        if self.mode == "async" and not self._loaded:
            self._load()
        for server in range(self.num_servers):
            self._ask(server, PUSH)
        for name, parameter in self._named.items():
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            dist.send(gradient.contiguous().cpu(), self._rank_of(name))
        if self.mode == "async":
            self._pull_weights()
            return
        for name, parameter in self._named.items():
            mean = torch.empty(parameter.shape, dtype=parameter.dtype)
            dist.recv(mean, self._rank_of(name))
            parameter.grad = mean.to(parameter.device)

    def _pull_weights(self) -> None:
        with torch.no_grad():
            for name, parameter in self._named.items():
                weight = torch.empty(parameter.shape, dtype=parameter.dtype)
                dist.recv(weight, self._rank_of(name))
                parameter.copy_(weight)
                parameter.grad = None

    def _load(self) -> None:
        """Give the servers the weights and the optimizer's state that a run begins or goes on with."""
        if self.rank == 0:
            for server in range(self.num_servers):
                self._ask(server, LOAD)
            for name, parameter in self._named.items():
                dist.send(parameter.detach().contiguous().cpu(), self._rank_of(name))
                for _, value in self._slots(parameter):
                    dist.send(value.contiguous().cpu(), self._rank_of(name))
        self.agree(0)  # nobody pushes before that
        self._loaded = True

    def _slots(self, parameter: Tensor) -> list[tuple[str, Tensor]]:
        """The tensors that the optimizer keeps for a parameter, in a fixed order."""
        return [(key, each) for key, each in sorted(self._optimizer.state[parameter].items()) if torch.is_tensor(each)]

    def share_buffers(self, model: nn.Module) -> None:
        """Give every worker the first one's buffers and, in async mode, the servers' weights."""
        for buffer in model.buffers():
            dist.broadcast(buffer, 0, group=self.data_group)
        if self.mode == "async" and self._loaded:
            self.agree(0)  # all pushes are done
            for server in range(self.num_servers):
                self._ask(server, PULL)
            self._pull_weights()

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors; in async mode what belongs to the optimizer comes from the servers."""
        found = dict(tensors)
        if self.mode == "sync" or self.rank != 0 or not self._loaded:
            return found
        for name in sorted({key.partition("/")[0] for key in tensors if "/" in key}):
            self._ask(self._server_of[name], STATE, list(self._named).index(name))
            for key, value in self._slots(self._named[name]):
                mine = torch.empty(value.shape, dtype=value.dtype)
                dist.recv(mine, self._rank_of(name))
                found[f"{name}/{key}"] = mine
        return found

    def close(self) -> None:
        """Leave the group; a worker lets the servers go first."""
        if not self.serves:
            for server in range(self.num_servers):
                self._ask(server, END)
        super().close()

    def _ask(self, server: int, what: int, number: int = 0) -> None:
        group = self._optimizer.param_groups[0]
        rate = group["lr"] / (group.get("lr_mult", 1.0) or 1.0)
        dist.send(torch.tensor([what, number, rate], dtype=torch.float64), self.data_size + server)

    def _rank_of(self, name: str) -> int:
        return self.data_size + self._server_of[name]

    # A server.

    def serve(self) -> None:
        """Answer the workers until all of them have ended."""
        own = [name for name in self._named if self._rank_of(name) == self.rank]
        (self._serve_in_rounds if self.mode == "sync" else self._serve_as_they_come)(own)

    def _serve_in_rounds(self, own: list[str]) -> None:
        store = KeyValueStore()
        while self._heard(0)[0] == PUSH:
            for worker in range(1, self.data_size):
                self._heard(worker)
            for name in own:
                gradient = torch.empty(self._named[name].shape, dtype=self._named[name].dtype)
                for worker in range(self.data_size):
                    dist.recv(gradient, worker)
                    store.push(name, gradient)
            for name in own:  # only now: a send waits for its receiver, which has pushed everything first
                mean = store.pull(name) / self.data_size
                for worker in range(self.data_size):
                    dist.send(mean, worker)
                store.clear(name)
        for worker in range(1, self.data_size):
            self._heard(worker)  # its farewell

    def _serve_as_they_come(self, own: list[str]) -> None:
        answers: dict[int, Callable[[int, list[str], int, float], None]] = {
            PUSH: self._update, PULL: self._give_weights, STATE: self._give_state, LOAD: self._take_all,
        }  # fmt: skip
        working = self.data_size
        while working:
            what, number, rate, worker = self._heard(None)
            if what == END:
                working -= 1
            else:
                answers[int(what)](worker, own, int(number), rate)

    def _heard(self, worker: int | None) -> tuple[float, float, float, int]:
        """What a worker, or any, asks for; and which."""
        header = torch.empty(3, dtype=torch.float64)
        sender = dist.recv(header, worker)
        what, number, rate = header.tolist()
        return what, number, rate, sender

    def _update(self, worker: int, own: list[str], number: int, rate: float) -> None:
        for name in own:
            parameter = self._named[name]
            gradient = torch.empty(parameter.shape, dtype=parameter.dtype)
            dist.recv(gradient, worker)
            parameter.grad = gradient.to(parameter.device)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group.get("lr_mult", 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._give_weights(worker, own, number, rate)

    def _give_weights(self, worker: int, own: list[str], number: int, rate: float) -> None:
        for name in own:
            dist.send(self._named[name].detach().contiguous().cpu(), worker)

    def _give_state(self, worker: int, own: list[str], number: int, rate: float) -> None:
        for _, value in self._slots(list(self._named.values())[number]):
            dist.send(value.contiguous().cpu(), worker)

    def _take_all(self, worker: int, own: list[str], number: int, rate: float) -> None:
        with torch.no_grad():
            for name in own:
                for target in (self._named[name], *(value for _, value in self._slots(self._named[name]))):
                    coming: Any = torch.empty(target.shape, dtype=target.dtype)
                    dist.recv(coming, worker)
                    target.copy_(coming)


def parameter_server(
    timeout: float = 300.0, servers: int = 1, mode: Mode = "sync", device: torch.device | None = None
) -> ParameterServer:
    """Workers that push gradients to servers, for study: ddp moves no more bytes and has no process to spare.

    Args:
        timeout: seconds after which a process that does not answer counts as lost.
        servers: how many of the processes are servers; the others are workers.
        mode: sync, equal to ddp; or async, in which servers apply each gradient as it comes.
        device: this process's device; everything travels through the CPU.

    Raises:
        ValueError: this process belongs to no group, or there would be no worker.
    """
    return ParameterServer(timeout, device, servers, mode)
