"""What ``benchmarks/scale.py`` foretells: fits that find what made their numbers, and sums that a hand can follow."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="module")
def model(load_benchmark: Callable[[str], ModuleType]) -> ModuleType:
    return load_benchmark("scale_model")


def test_a_line_is_that_of_numpy_and_never_falls(model: ModuleType) -> None:
    xs, ys = [1.0, 2.0, 5.0, 7.0], [3.1, 4.9, 11.2, 14.8]
    slope, constant = np.polyfit(xs, ys, 1)
    found = model.fit_line(xs, ys)
    assert (found.constant, found.slope) == pytest.approx((constant, slope))
    assert model.fit_line([1, 2, 3], [1, 4, 7]) == model.Line(0.0, pytest.approx(30 / 14))  # through nothing, not -2
    assert model.fit_line([1, 2, 3], [5, 4, 3]) == model.Line(4.0, 0.0)
    with pytest.raises(ValueError, match="a line needs two places"):
        model.fit_line([2, 2], [1, 3])


def test_a_forecast_adds_what_all_do_and_what_one_does(model: ModuleType) -> None:
    rates = model.Rates(
        document_bytes=1000, unpack=1e-7, draft=3e-7, write=1e-7, hash=2e-9, cut=1e-9,
        read=4e-9, encode=2e-7, gather=1e-9, columns=1e-6, stored=0.4,
        decide=model.Line(0.0, 1e-5), look_up=1e-5, drafts=0.5, kept=0.25, sketches=400, temporary=800,
        decide_memory=model.Line(1e8, 1.0), worker_memory=2e8,
    )  # fmt: skip
    # 1e9 documents of 50 rows at 128 bytes, in files of a quarter of a gigabyte; 31,250 portions, on two sides
    files = 10_000 + 2 * 25_600 * 31_250 * 1e-5
    run = model.foretell(rates, 1e12, 100)
    assert run.shared == pytest.approx({"drafts": 4000, "shards": 1000})
    assert run.alone == pytest.approx({
        "hash of the sources": 2000, "cutting into portions": 1000, "deciding": files, "hash of the shards": 500,
    })  # fmt: skip
    assert run.seconds == pytest.approx(8_500 + files) and run.efficiency == pytest.approx(5000 / (8_500 + files))
    assert run.longest == "deciding"
    assert run.network == pytest.approx((1 + 0.5 + 0.5 + 0.25) * 1e12 / 5000)
    assert model.deciding(rates, 1e12, 32e9) == pytest.approx(10_000 + 2 * 800 * 31_250 * 1e-5)
    ten = model.foretell(rates, 1e12, 10)
    assert ten.longest == "drafts" and ten.alone == run.alone and ten.shared["drafts"] == pytest.approx(40_000)
    pack = model.foretell_pack(rates, 1e12, 100)  # of 0.25 TB of documents
    assert pack.shared == pytest.approx({"encoding": 500, "shards of tokens": 2.5})
    assert pack.alone == pytest.approx({"columns of documents": 1000, "hashes": 2e-9 * (0.25e12 + 0.1e12)})
    assert pack.longest == "columns of documents" and pack.network == pytest.approx((0.25 + 0.3) * 1e12 / 502.5)
    tokenizer = model.foretell_tokenizer(rates, 1e12, 100)  # one process reads 0.25 TB twice, whatever the cores
    assert tokenizer.alone == pytest.approx({"reading, twice": 2000, "hash of the shards": 500})
    assert tokenizer.seconds == pytest.approx(2500) and tokenizer.efficiency == 0
    assert tokenizer.longest == "reading, twice" and tokenizer.network == 0
