"""All-reduce written out with send and receive, for study beside torch's own; and a key-value store (d2l 13.7).

Legend: n processes, S bytes of the data of one of them.
"""

from collections.abc import Hashable

import torch
import torch.distributed as dist
from torch import Tensor


class Channel:
    """Messages from one process to another, with a count of the bytes that this one has sent.

    Args:
        group: the processes that talk to each other; None is all of them.

    Attributes:
        rank: this process within the group.
        size: n.
        bytes_sent: by this process so far.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self.group = group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        self.bytes_sent = 0

    def send(self, tensor: Tensor, to: int) -> None:
        """Send a tensor, and wait until it is on its way."""
        self.bytes_sent += tensor.nbytes
        dist.send(tensor, group=self.group, group_dst=to)

    def receive(self, into: Tensor, source: int) -> None:
        """Wait for a tensor of the shape and type of `into`."""
        dist.recv(into, group=self.group, group_src=source)

    def exchange(self, tensor: Tensor, to: int, into: Tensor, source: int) -> None:
        """Send and receive at the same time, so that a ring of processes that all do so never waits for itself."""
        self.bytes_sent += tensor.nbytes
        works = [
            dist.isend(tensor, group=self.group, group_dst=to),
            dist.irecv(into, group=self.group, group_src=source),
        ]
        for work in works:
            if work is not None:
                work.wait()


def naive_all_reduce(tensor: Tensor, channel: Channel) -> Tensor:
    """Process 0 gathers all tensors, adds them up in the order of ranks, and sends the sum to every other process.

    Process 0 sends (n - 1) S and receives as much: the time grows with n.

    Args:
        tensor: contiguous; the sum takes its place.
        channel: of the processes that call this together.
    """
    if channel.rank > 0:
        channel.send(tensor, 0)
        channel.receive(tensor, 0)
        return tensor
    part = torch.empty_like(tensor)
    for source in range(1, channel.size):
        channel.receive(part, source)
        tensor += part
    for other in range(1, channel.size):
        channel.send(tensor, other)
    return tensor


def ring_all_reduce(tensor: Tensor, channel: Channel) -> Tensor:
    """Each process talks to its neighbours only, and sends 2 (n - 1) / n S, whatever n is (d2l 13.7).

    The data is cut into n chunks.  In n - 1 steps of reduce-scatter each process passes one chunk on and adds the one
    that comes, after which process i holds the whole sum of chunk i.  In n - 1 steps of all-gather the sums go round.
    A chunk is added up along one path and then copied, so all processes hold the same bits.  Messages go to the process
    before, as in gloo, so that the order of the additions is that of torch's all-reduce on CPUs, too.

    Args:
        tensor: contiguous; the sum takes its place.
        channel: of the processes that call this together.
    """
    n, rank = channel.size, channel.rank
    before, following = (rank - 1) % n, (rank + 1) % n
    chunks = torch.tensor_split(tensor.view(-1), n)
    coming = torch.empty_like(chunks[0])  # the first chunk is the largest
    for step in range(n - 1):
        out, into = chunks[(rank + 1 + step) % n], chunks[(rank + 2 + step) % n]
        part = coming[: len(into)]
        channel.exchange(out, before, part, following)
        into += part
    for step in range(n - 1):
        out, into = chunks[(rank + step) % n], chunks[(rank + 1 + step) % n]
        channel.exchange(out, before, into, following)
    return tensor


class KeyValueStore:
    """push(key, value) adds to what lies under the key, pull(key) reads it (d2l 13.7).

    Gradients are added up in the order in which they come; who wants the order to be fixed pushes in a fixed order.
    """

    def __init__(self) -> None:
        self._values: dict[Hashable, Tensor] = {}

    def push(self, key: Hashable, value: Tensor) -> None:
        """Add a value; the first one under a key is copied."""
        if key in self._values:
            self._values[key] += value
        else:
            self._values[key] = value.clone()

    def pull(self, key: Hashable) -> Tensor:
        """The sum under a key.

        Raises:
            KeyError: nothing was pushed to it.
        """
        return self._values[key]

    def clear(self, key: Hashable) -> None:
        """Begin the next sum under a key."""
        self._values.pop(key, None)


def spread_keys(sizes: dict[str, int], servers: int) -> dict[str, int]:
    """Which of the servers has which key: the largest first, each to the server with the least so far.

    Args:
        sizes: numbers of each key.
        servers: how many.

    Returns:
        key -> server, in the order of `sizes`.
    """
    loads = [0] * servers
    found = {}
    for key in sorted(sizes, key=lambda key: (-sizes[key], key)):
        server = loads.index(min(loads))
        loads[server] += sizes[key]
        found[key] = server
    return {key: found[key] for key in sizes}
