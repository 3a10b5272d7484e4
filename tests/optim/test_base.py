"""What all optimizers share: start-up cost, hooks, scaling, groups, refusals."""

import subprocess
import sys
from typing import Any

import pytest
import torch

from d2lcli.optim.adam import adam, adamw
from d2lcli.optim.sgd import momentum, sgd

BUILDERS = [sgd, momentum, adam, adamw]
every_builder = pytest.mark.parametrize("build", BUILDERS, ids=[build.__name__ for build in BUILDERS])

LIGHT = """
import sys, torch
from d2lcli.optim.param_groups import param_groups
from d2lcli.registry import OPTIMIZERS

for name in OPTIMIZERS.names():
    for path in ("fused", "foreach", "plain", "auto"):
        options = {"implementation": path} if "implementation" in OPTIMIZERS.parameters(name) else {}
        model = torch.nn.Linear(3, 2)
        try:
            optimizer = OPTIMIZERS.get(name)(param_groups(model, 0.0), **options)
        except ValueError as error:
            assert "no fused kernel" in str(error) and path == "fused"
            continue
        loss = (model(torch.ones(1, 3)) ** 2).sum()
        getattr(optimizer, "backward", torch.Tensor.backward)(loss)
        optimizer.step()
        optimizer.load_state_dict(optimizer.state_dict())
        optimizer.zero_grad()
        optimizer.add_param_group({"params": [torch.zeros(2, requires_grad=True)]})
assert "torch._dynamo" not in sys.modules, "torch._dynamo was imported"
"""


def weight(*shape: int) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.ones(*shape))


def test_a_whole_life_does_not_import_dynamo() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@every_builder
def test_is_a_torch_optimizer_with_hooks(build: Any) -> None:
    w = weight(2)
    optimizer = build([w])
    assert isinstance(optimizer, torch.optim.Optimizer)
    seen: list[str] = []
    handles = [
        optimizer.register_step_pre_hook(lambda *_: seen.append("pre")),
        optimizer.register_step_post_hook(lambda *_: seen.append("post")),
    ]
    w.grad = torch.ones(2)
    optimizer.step()
    assert seen == ["pre", "post"]
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert seen == ["pre", "post"]


@every_builder
def test_the_profiler_sees_the_step(build: Any) -> None:
    w = weight(2)
    optimizer = build([w])
    w.grad = torch.ones(2)
    with torch.autograd.profiler.profile() as profile:
        optimizer.step()
    assert f"Optimizer.step#{type(optimizer).__name__}.step" in {event.name for event in profile.function_events}


@every_builder
def test_works_with_torchs_scaler_and_schedulers(build: Any) -> None:
    w, plain = weight(3), weight(3)
    optimizer, other = build([w], lr=0.1), build([plain], lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    for i in range(2):
        scaler.scale((w**2).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
        optimizer.zero_grad()
        (plain**2).sum().backward()
        other.step()
        other.zero_grad()
        other.param_groups[0]["lr"] = 0.1 * 0.5 ** (i + 1)
    torch.testing.assert_close(w, plain)
    scaler.scale((w * float("inf")).sum()).backward()
    before = w.detach().clone()
    scaler.step(optimizer)
    assert torch.equal(w, before)


@every_builder
def test_the_closure_gives_the_loss_with_gradients_on(build: Any) -> None:
    w = weight(2)
    optimizer = build([w], lr=0.1)

    def closure() -> float:
        optimizer.zero_grad()
        loss = (w**2).sum()
        loss.backward()
        return loss.item()

    with torch.no_grad():
        assert optimizer.step(closure) == 2.0
        assert not torch.is_grad_enabled()
    assert optimizer.step(closure) < 2.0
    assert torch.is_grad_enabled()


@every_builder
def test_zero_grad_drops_or_clears(build: Any) -> None:
    w = weight(2)
    optimizer = build([w])
    w.grad = torch.ones(2)
    optimizer.zero_grad(set_to_none=False)
    assert w.grad is not None and not w.grad.any()
    optimizer.zero_grad()
    assert w.grad is None


@every_builder
def test_the_learning_rate_of_the_group_is_read_at_each_step(build: Any) -> None:
    w = weight(2)
    optimizer = build([w])
    optimizer.param_groups[0]["lr"] = 0.0
    w.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(w, torch.ones(2))


@every_builder
def test_groups_have_options_of_their_own_and_state_from_the_start(build: Any) -> None:
    fast, slow, late = weight(2), weight(2), weight(2)
    optimizer = build([{"params": [fast], "lr": 0.5, "names": ["fast"]}, {"params": slow}], lr=0.25)
    optimizer.add_param_group({"params": [late], "lr": 0.0})
    keys = {index: sorted(entry) for index, entry in optimizer.state_dict()["state"].items()}
    for w in (fast, slow, late):
        w.grad = torch.ones(2)
    optimizer.step()
    assert keys == {index: sorted(entry) for index, entry in optimizer.state_dict()["state"].items()}
    assert (1 - fast).tolist() == pytest.approx((2 * (1 - slow)).tolist(), abs=2e-2)
    assert torch.equal(late, torch.ones(2))
    assert optimizer.state_dict()["param_groups"][0]["names"] == ["fast"]


def test_auto_is_fused_where_a_kernel_fits_and_foreach_elsewhere() -> None:
    def path(param: torch.Tensor) -> str:
        return sgd([param])._packs[0].implementation

    assert path(weight(3, 4)) == "fused"
    assert path(torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last)) == "fused"
    holes = torch.ones(4, 4)[:, ::2]
    assert path(holes) == "foreach"
    assert path(torch.ones(3, device="meta")) == "foreach"
    with pytest.raises(ValueError, match="dense floating-point parameters on a CPU or CUDA"):
        sgd([holes], implementation="fused")


def test_parameters_of_two_types_are_stepped_together() -> None:
    single, double = weight(3), torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = adam([single, double], lr=0.1, implementation="fused")
    single.grad, double.grad = torch.ones(3), torch.ones(3, dtype=torch.float64)
    optimizer.step()
    torch.testing.assert_close(single.double(), double, rtol=1e-6, atol=1e-7)
    assert double[0].item() == pytest.approx(0.9)


@pytest.mark.parametrize("path", ["fused", "foreach", "plain"])
def test_sparse_gradients(path: str) -> None:
    table = torch.nn.Embedding(4, 2, sparse=True)
    before = table.weight.detach().clone()
    optimizer = sgd(table.parameters(), lr=0.5, implementation=path)
    table(torch.tensor([1, 1, 3])).sum().backward()
    optimizer.step()
    expected = before - 0.5 * torch.tensor([[0.0], [2.0], [0.0], [1.0]])
    torch.testing.assert_close(table.weight.detach(), expected)
    with pytest.raises(ValueError, match=r"weight_decay=0\.1"):
        sgd(table.parameters(), weight_decay=0.1, implementation=path).step()
    with pytest.raises(ValueError, match="sparse gradients"):
        adam(table.parameters(), implementation=path).step()


def test_what_cannot_be_optimized_is_refused() -> None:
    w = weight(2)
    with pytest.raises(ValueError, match="twice"):
        sgd([w, w])
    with pytest.raises(ValueError, match="twice"):
        sgd([{"params": [w]}, {"params": [w]}])
    with pytest.raises(ValueError, match="no shape yet"):
        sgd(torch.nn.LazyLinear(2).parameters())
    with pytest.raises(ValueError, match=r"floating-point parameters, not torch\.int64"):
        sgd([torch.ones(2, dtype=torch.int64)])
    with pytest.raises(ValueError, match="empty parameter list"):
        sgd([])
    with pytest.raises(TypeError, match="takes tensors, not str"):
        sgd(["w"])


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing() -> None:
    w = weight(2)
    optimizer = adam([w], lr=0.1)
    w.grad = torch.ones(2)
    optimizer.step()
    before = optimizer.state_dict()
    damages: list[tuple[str, Any]] = [
        ("exp_avg", torch.zeros(3)),
        ("step", torch.zeros(2)),
        ("more", torch.zeros(2)),
    ]
    for name, value in damages:
        bad = {
            "state": {0: before["state"][0] | {name: value}},
            "param_groups": [dict(before["param_groups"][0], lr=9.0)],
        }
        with pytest.raises(ValueError, match=name):
            optimizer.load_state_dict(bad)
    with pytest.raises(ValueError, match="do not exist: 7"):
        optimizer.load_state_dict(before | {"state": before["state"] | {7: {}}})
    with pytest.raises(ValueError, match=r"lr=-1 must be"):
        optimizer.load_state_dict(before | {"param_groups": [dict(before["param_groups"][0], lr=-1)]})
    with pytest.raises(ValueError, match="number of parameter groups"):
        optimizer.load_state_dict(before | {"param_groups": []})
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert optimizer.state[w]["step"].item() == 1.0


def test_a_copy_is_independent() -> None:
    import copy

    w = weight(2)
    optimizer = adam([w], lr=0.1, implementation="plain")
    w.grad = torch.ones(2)
    optimizer.step()
    twin = copy.deepcopy(optimizer)
    (other,) = twin.param_groups[0]["params"]
    other.grad = torch.ones(2)
    twin.step()
    assert twin.state[other]["step"].item() == 2.0
    assert optimizer.state[w]["step"].item() == 1.0
    w.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(w, other)
