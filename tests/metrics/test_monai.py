from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.handlers.utils import from_engine

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.evaluation import evaluate
from medres.metrics.monai import EvaluationMetric, EvaluationMetricHandler
from medres.metrics.operating_point import Threshold
from medres.metrics.ranking import auroc
from medres.metrics.three_way import Band, three_way_counts

HALF = Threshold(0.5, "by hand", 0)


def drawn(n: int = 90, findings: int = 1, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    y = (torch.rand(n, findings, generator=generator) < 0.4).double()
    logit = 2 * y - 1 + torch.randn(n, findings, generator=generator, dtype=torch.float64)
    return y, logit, [f"patient {k // 3}" for k in range(n)]


def feed(metric: EvaluationMetric, y, logit, ids=None, batch: int = 32) -> EvaluationMetric:
    for start in range(0, len(y), batch):
        part = slice(start, start + batch)
        metric(logit[part], y[part], patient_ids=ids[part] if ids else None)
    return metric


def test_batches_give_the_figures_of_all_rows():
    y, logit, ids = drawn(findings=2)
    metric = feed(
        EvaluationMetric(("a", "b"), activation="sigmoid", thresholds={"a": HALF}), y, logit, ids
    )
    whole = evaluate(
        y, logit.sigmoid(), findings=("a", "b"), patient_ids=ids, thresholds={"a": HALF},
        resamples=200,
    )  # fmt: skip
    assert metric.report()["a"].figures["auroc"].value == whole["a"].figures["auroc"].value
    assert metric.report().n_patients == 30
    assert float(metric.aggregate()) == pytest.approx(whole.macro.auroc.value)
    metric.reset()
    feed(metric, y[:60], logit[:60])
    assert metric.report().n_patients == 60


def test_any_figure_of_a_finding_can_be_the_key_metric():
    y, logit, _ = drawn()
    for name in ("sensitivity", "f1_score", "calibration_slope", "brier_score"):
        metric = EvaluationMetric(
            ("a",), activation="sigmoid", figure=name, thresholds={"a": HALF}, resamples=20
        )
        assert float(feed(metric, y, logit).aggregate()) > 0


def test_lists_of_decollated_items_and_plain_columns_are_taken():
    y, logit, ids = drawn()
    metric = EvaluationMetric(("a",), resamples=20)
    metric([*logit], [*y], patient_ids=ids)
    other = EvaluationMetric(("a",), resamples=20)
    other(logit[:, 0], y[:, 0], patient_ids=ids)
    assert torch.equal(metric.get_buffer(), other.get_buffer())


def test_classes_may_come_as_numbers():
    generator = torch.Generator().manual_seed(0)
    named = torch.randint(3, (60, 1), generator=generator)
    logit = torch.randn(60, 3, generator=generator)
    metric = EvaluationMetric(
        ("x", "y", "z"), kind="multiclass", activation="softmax", resamples=20
    )
    metric(logit, named)
    report = metric.report()
    right = (logit.argmax(1) == named[:, 0]).double().mean()
    assert report.multiclass.accuracy.value == pytest.approx(float(right))


def evaluator(y, logit, ids, **options) -> SupervisedEvaluator:
    items = [
        {"image": z, "label": label, "patient_id": patient}
        for z, label, patient in zip(logit.float(), y.float(), ids, strict=True)
    ]
    return SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(items), batch_size=16),
        network=torch.nn.Identity(),
        **options,
    )


@pytest.mark.parametrize("decollate", [True, False])
def test_monais_evaluator_reports_the_figure_with_patients(decollate: bool):
    y, logit, ids = drawn()
    metric = EvaluationMetric(("a",), activation="sigmoid")
    engine = evaluator(
        y, logit, ids, decollate=decollate,
        key_val_metric={"auroc": EvaluationMetricHandler(metric)},
    )  # fmt: skip
    engine.run()
    expected = auroc(y[:, 0], logit[:, 0].float(), patient_ids=ids, resamples=200)
    assert engine.state.metrics["auroc"] == pytest.approx(expected.value)
    assert engine.state.best_metric == pytest.approx(expected.value)
    details = engine.state.metric_details["auroc"]
    assert details["n"]["patients"] == 30
    assert json.loads(json.dumps(details))["findings"]["a"]["auroc"]["low"] == pytest.approx(
        expected.low,
        abs=0.02,  # other draws: patients are ordered by their digests
    )
    engine.run()
    assert engine.state.metric_details["auroc"]["findings"]["a"]["n"] == 90


def test_monais_stock_handler_takes_the_metric_without_patients():
    from monai.handlers import IgniteMetricHandler

    y, logit, ids = drawn()
    handler = IgniteMetricHandler(
        EvaluationMetric(("a",), activation="sigmoid", resamples=20),
        output_transform=from_engine(["pred", "label"]),
    )
    engine = evaluator(y, logit, ids, key_val_metric={"auroc": handler})
    engine.run()
    assert engine.state.metrics["auroc"] == pytest.approx(auroc(y[:, 0], logit[:, 0].float()).value)


def test_a_plain_ignite_engine_takes_the_handler():
    y, logit, ids = drawn()
    engine = Engine(lambda _, k: (logit[k : k + 30], y[k : k + 30], ids[k : k + 30]))
    metric = EvaluationMetric(("a",), resamples=20)
    EvaluationMetricHandler(metric, output_transform=lambda out: out).attach(engine, "auroc")
    engine.run([0, 30, 60])
    assert engine.state.metrics["auroc"] == pytest.approx(auroc(y[:, 0], logit[:, 0]).value)
    assert metric.report().n_patients == 30


def test_undefined_figures_and_misfits_are_said():
    y, logit, ids = drawn()
    metric = EvaluationMetric(("a",), resamples=20)
    metric(logit, 0 * y)
    with pytest.raises(UndefinedMetricError, match="auroc is undefined: no positive patients"):
        metric.aggregate()
    metric = EvaluationMetric(("a",), resamples=20)
    metric(logit[:50], y[:50], patient_ids=ids[:50])
    metric(logit[50:], y[50:])
    with pytest.raises(MetricInputError, match="40 of 90 rows have no patient; give patient_ids"):
        metric.aggregate()
    with pytest.raises(MetricInputError, match="2 patient_ids for 90 rows; give one for each"):
        metric(logit, y, patient_ids=["a", "b"])
    with pytest.raises(MetricInputError, match=r"predictions have shape \(90, 1\) and labels"):
        EvaluationMetric(("a", "b"))(logit, y)
    with pytest.raises(MetricInputError, match="no labels were given; pass y beside y_pred"):
        metric(logit)
    with pytest.raises(MetricInputError, match=r"finding 'c' is unknown; the findings are \['a'\]"):
        EvaluationMetric(("a",), finding="c")
    with pytest.raises(MetricInputError, match="'f1_score' has no macro mean; name the finding"):
        EvaluationMetric(("a", "b"), figure="f1_score")
    with pytest.raises(MetricInputError, match="no figure 'beauty'; choose one of auroc, "):
        feed(EvaluationMetric(("a",), figure="beauty", resamples=20), y, logit).aggregate()
    handler = EvaluationMetricHandler(EvaluationMetric(("a",)))
    with pytest.raises(MetricInputError, match="the output has 1 items; give y_pred and y, or"):
        handler.update([logit])


def uneven_rank(rank: int, world: int, folder: str) -> None:
    """What one of the processes does: it has its own share of the rows, the last one none."""
    import torch.distributed as dist

    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world
    )
    y, logit, ids = drawn()
    share = [slice(0, 70), slice(70, 90), slice(90, 90)][rank]
    metric = EvaluationMetric(("a",), resamples=50)
    engine = Engine(lambda _, __: (logit[share], y[share], ids[share]))
    EvaluationMetricHandler(metric, output_transform=lambda out: out).attach(engine, "auroc")
    if share.start < share.stop:
        engine.run([0])
        value = engine.state.metrics["auroc"]
    else:
        value = float(metric.aggregate())
    report = metric.report()
    (Path(folder) / f"{rank}.json").write_text(json.dumps([value, report.n_patients]))
    dist.destroy_process_group()


@pytest.mark.slow
def test_processes_of_uneven_size_report_the_figure_of_all_rows(tmp_path: Path):
    torch.multiprocessing.spawn(uneven_rank, (3, str(tmp_path)), nprocs=3)
    y, logit, _ = drawn()
    expected = auroc(y[:, 0], logit[:, 0]).value
    for rank in range(3):
        value, patients = json.loads((tmp_path / f"{rank}.json").read_text())
        assert value == pytest.approx(expected, abs=1e-12)
        assert patients == 30


def test_a_band_of_the_record_or_of_two_numbers_is_counted():
    y, logit, ids = drawn()
    band = Band(Threshold(0.3, "by hand", 0), Threshold(0.6, "by hand", 0))
    for given in (band, [0.3, 0.6]):
        metric = EvaluationMetric(("a",), activation="sigmoid", bands={"a": given}, resamples=20)
        counts = feed(metric, y, logit, ids).report()["a"].details.three_way.counts
        assert counts == three_way_counts(y[:, 0], logit[:, 0].sigmoid(), 0.3, 0.6)
