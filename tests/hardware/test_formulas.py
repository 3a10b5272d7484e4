"""Communication, rooflines and efficiencies against the book's numbers and closed forms."""

import pytest

from d2lcli.hardware import simulate
from d2lcli.hardware.collectives import bus_factor
from d2lcli.hardware.roofline import Roof, product_intensity
from d2lcli.hardware.scaling import efficiency
from d2lcli.hardware.sequence import power

SIZE = 160e6


def test_the_book_s_ring_of_eight_takes_about_six_milliseconds() -> None:
    """d2l 13.7: 160 MB over three NVLinks of 18 GB/s; the exact factor 2 (n - 1) / n is that of eight ranks."""
    assert simulate.ring_of_many(SIZE, simulate.NVLINK) * 1e3 == pytest.approx(5.926, abs=5e-4)
    assert simulate.ring(8, SIZE, simulate.NVLINK) * 1e3 == pytest.approx(5.185, abs=5e-4)


def test_the_book_s_ways_over_pcie() -> None:
    found = simulate.pcie(4, SIZE, simulate.PCIE3)
    assert {name: round(seconds * 1e3, 9) for name, seconds in found.items()} == {
        "all to one GPU": 60,
        "all to the CPU": 80,
        "each adds one part": 15,
    }


def test_a_nvlink_has_18_and_pcie_4_has_32_in_each_direction() -> None:
    assert simulate.NVLINK.bandwidth == 3 * 18e9
    assert simulate.PCIE4.bandwidth == 2 * simulate.PCIE3.bandwidth == 32e9


@pytest.mark.parametrize("n", [2, 3, 8, 100])
def test_a_ring_is_the_sum_of_its_steps(n: int) -> None:
    link = simulate.Link("x", 5e9, 3e-6)
    steps = sum(link.alpha + SIZE / n / link.bandwidth for _ in range(2 * (n - 1)))
    assert simulate.ring(n, SIZE, link) == pytest.approx(steps, rel=1e-12)


def test_a_ring_hardly_grows_with_its_length_but_its_latency_does() -> None:
    fast = simulate.Link("x", 1e9)
    assert simulate.ring(1000, SIZE, fast) < simulate.ring_of_many(SIZE, fast) < 1.01 * simulate.ring(1000, SIZE, fast)
    slow = simulate.Link("x", 1e18, 1e-3)
    assert simulate.ring(11, 1, slow) == pytest.approx(20e-3)


def test_a_tree_has_two_passes_over_its_levels() -> None:
    link = simulate.Link("x", 1e9, 0.0)
    assert simulate.tree(8, 1e9, link) == pytest.approx(6.0)
    assert simulate.tree(5, 1e9, link) == pytest.approx(6.0)  # three levels too
    assert simulate.naive(8, 1e9, link) == pytest.approx(14.0)


def test_parameter_servers_scale_with_workers_over_servers() -> None:
    link = simulate.Link("x", 1e9)
    once = simulate.parameter_server(1, 1, SIZE, link)
    assert simulate.parameter_server(8, 1, SIZE, link) == pytest.approx(8 * once)
    assert simulate.parameter_server(8, 4, SIZE, link) == pytest.approx(2 * once)
    assert simulate.parameter_server(64, 64, SIZE, link) == pytest.approx(once)


def test_a_step_is_computing_and_then_the_ring_that_does_not_hide_behind_it() -> None:
    link = simulate.Link("x", 1e9)
    ring = simulate.ring(4, 1e9, link)  # 1.5 s
    assert simulate.step(8.0, 4, 1e9, link) == pytest.approx(2.0 + ring)
    assert simulate.step(8.0, 4, 1e9, link, overlap=0.5) == pytest.approx(2.0 + ring - 1.0)
    assert simulate.step(80.0, 4, 1e9, link, overlap=0.5) == pytest.approx(20.0)
    assert simulate.step(8.0, 1, 1e9, link) == 8.0


def test_every_simulated_row_is_marked_and_names_its_inputs() -> None:
    steps = [{"model": "mlp", "sizes": "256 x 784", "seconds": 0.01, "parameters": 200_000}]
    for found in simulate.rows(8, steps):
        assert not isinstance(found, str)
        assert found.model and found.what.startswith("MODEL ") and found.figure.n == 0
        assert all(word in found.sizes for word in ("S = ", "B = ", "alpha = "))


def test_without_a_measured_step_none_is_predicted() -> None:
    (remark,) = [found for found in simulate.rows(8, []) if isinstance(found, str)]
    assert "d2l bench models" in remark


def test_bus_bandwidths_are_those_of_nccl_tests() -> None:
    assert bus_factor("all_reduce, ring", 4) == 1.5
    assert bus_factor("all_gather", 4) == bus_factor("reduce_scatter", 4) == 0.75


def test_a_roof_has_a_slope_a_ridge_and_a_ceiling() -> None:
    roof = Roof(peak=216e9, bandwidth=30e9)
    assert roof.ridge == pytest.approx(7.2)
    assert roof.attainable(2 / 12) == pytest.approx(5e9)  # the triad
    assert roof.attainable(7.2) == roof.attainable(1000) == 216e9


def test_the_intensity_of_a_square_product_is_n_over_six() -> None:
    assert product_intensity(600, 600, 600) == pytest.approx(100)


def test_efficiencies_name_strong_and_weak_apart() -> None:
    assert efficiency(100.0, 66.0, 2, "strong") == pytest.approx(0.7576, abs=1e-4)
    assert efficiency(100.0, 115.0, 2, "weak") == pytest.approx(0.8696, abs=1e-4)


def test_the_power_of_a_length_is_a_slope_in_logarithms() -> None:
    assert power((64, 256), (3.0, 48.0)) == pytest.approx(2.0)
