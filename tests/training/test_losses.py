import json
import math

import pytest
import torch
from monai.bundle import ConfigParser
from torch import nn
from torchvision.ops import sigmoid_focal_loss

from medres.errors import ConfigError
from medres.training.losses import ClassificationLoss, balanced_class_weights, probabilities

NAN = math.nan


def draws(kind, rows=6, outputs=3):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(rows, outputs, generator=generator, dtype=torch.float64)
    if kind == "multiclass":
        classes = torch.randint(outputs, (rows,), generator=generator)
        return logits, torch.nn.functional.one_hot(classes, outputs).double()
    return logits, torch.randint(2, (rows, outputs), generator=generator).double()


def test_binary_loss_by_hand():
    # -log σ(0) = log 2; -log σ(log 3) = log 4/3; -log(1 - σ(log 3)) = log 4
    logits = torch.tensor([[0.0], [math.log(3)], [math.log(3)]], dtype=torch.float64)
    labels = torch.tensor([[1.0], [1.0], [0.0]])
    expected = (math.log(2) + math.log(4 / 3) + math.log(4)) / 3
    assert ClassificationLoss("binary")(logits, labels).item() == pytest.approx(expected, abs=1e-12)


def test_missing_labels_do_not_count():
    logits = torch.tensor([[0.0, 5.0], [7.0, math.log(3)]], requires_grad=True)
    labels = torch.tensor([[1.0, NAN], [NAN, 0.0]])
    loss = ClassificationLoss("multilabel")(logits, labels)
    loss.backward()
    assert loss.item() == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert torch.equal(logits.grad == 0, labels.isnan())


def test_class_weights_multiply_positives_as_in_pytorch():
    logits, labels = draws("multilabel")
    weights = torch.tensor([0.5, 2.0, 7.0])
    expected = nn.BCEWithLogitsLoss(pos_weight=weights.double())(logits, labels)
    found = ClassificationLoss("multilabel", weights)(logits, labels)
    torch.testing.assert_close(found, expected)


def test_label_smoothing_moves_binary_targets_toward_one_half():
    logits, labels = draws("binary", outputs=1)
    expected = nn.BCEWithLogitsLoss()(logits, labels * 0.8 + 0.1)
    torch.testing.assert_close(
        ClassificationLoss("binary", label_smoothing=0.2)(logits, labels), expected
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.15])
@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 7.0)])
def test_multiclass_loss_is_pytorchs_on_class_indices(weights, smoothing):
    logits, labels = draws("multiclass")
    weight = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    reference = nn.CrossEntropyLoss(weight=weight, label_smoothing=smoothing)
    found = ClassificationLoss("multiclass", weight, smoothing)(logits, labels)
    torch.testing.assert_close(found, reference(logits, labels.argmax(dim=1)))


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0, 7.0])])
def test_multiclass_rows_that_are_missing_do_not_count(weights):
    logits, labels = draws("multiclass")
    loss = ClassificationLoss("multiclass", weights)
    expected = loss(logits[:4], labels[:4])
    labels[4] = NAN
    labels[5, 1] = NAN
    logits.requires_grad_()
    found = loss(logits, labels)
    found.backward()
    torch.testing.assert_close(found, expected)
    assert torch.equal(logits.grad[4:], torch.zeros(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0, 7.0])])
@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_batch_without_any_label_gives_zero_and_zero_gradients(kind, weights):
    logits = torch.randn(2, 3, requires_grad=True)
    loss = ClassificationLoss(kind, weights, 0.1)(logits, torch.full((2, 3), NAN))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros(2, 3))


def test_loss_computes_in_float32_at_least_and_takes_weights_along():
    loss = ClassificationLoss("binary", torch.tensor([3.0])).to(torch.float64)
    assert loss.class_weights.dtype == torch.float64
    assert loss(torch.zeros(2, 1, dtype=torch.bfloat16), torch.ones(2, 1)).dtype == torch.float32
    assert loss.state_dict() == {}


@pytest.mark.parametrize(
    ("logits", "labels"), [((2, 3), (2, 1)), ((2,), (2,)), ((2, 1), (2,)), ((2, 1, 1), (2, 1, 1))]
)
def test_shapes_that_differ_are_refused(logits, labels):
    with pytest.raises(ConfigError, match=r"expects logits and labels \(B, F\), found"):
        ClassificationLoss("multilabel")(torch.zeros(logits), torch.zeros(labels))


def test_weights_for_another_number_of_outputs_are_refused():
    with pytest.raises(ConfigError, match="class_weights: 2 weights for 3 outputs; give one for"):
        ClassificationLoss("multilabel", torch.ones(2))(torch.zeros(1, 3), torch.zeros(1, 3))


@pytest.mark.parametrize("weights", [[0.0], [-1.0], [[1.0]], [NAN]])
def test_weights_that_are_not_positive_are_refused(weights):
    with pytest.raises(ConfigError, match=r"class_weights: \[.* is not accepted; give one weight"):
        ClassificationLoss("binary", torch.tensor(weights))


def test_impossible_loss_is_refused():
    with pytest.raises(
        ConfigError, match="kind: 'ordinal' is not accepted; give one of binary, mu"
    ):
        ClassificationLoss("ordinal")
    with pytest.raises(ConfigError, match="label_smoothing: 1 is not accepted; give 0 to below 1"):
        ClassificationLoss("binary", label_smoothing=1.0)


def test_probabilities_are_a_sigmoid_each_or_a_softmax():
    logits = torch.tensor([[0.0, math.log(3)]])
    assert probabilities("multilabel", logits).tolist() == [pytest.approx([0.5, 0.75])]
    assert probabilities("binary", logits[:, 1:]).tolist() == [pytest.approx([0.75])]
    assert probabilities("multiclass", logits).tolist() == [pytest.approx([0.25, 0.75])]


def test_probabilities_of_half_precision_logits_stay_distinct():
    logits = torch.linspace(4, 5, 40).to(torch.bfloat16).view(-1, 1)
    scores = probabilities("binary", logits)
    assert scores.dtype == torch.float32
    assert len(scores.unique()) == len(logits.unique())
    assert probabilities("binary", torch.zeros(1, 1, dtype=torch.float64)).dtype == torch.float64


def test_probabilities_of_another_kind_are_refused():
    with pytest.raises(ConfigError, match="kind: 'regression' is not accepted"):
        probabilities("regression", torch.zeros(1, 1))


def test_balanced_weights_are_negatives_per_positive():
    labels = torch.tensor([[1.0, 0.0], [0.0, NAN], [0.0, 1.0], [0.0, 1.0]])
    assert balanced_class_weights("multilabel", labels).tolist() == [3.0, 0.5]


def test_balanced_weights_give_each_class_the_same_total():
    labels = torch.tensor([[1.0, 0, 0]] * 6 + [[0, 1.0, 0]] * 3 + [[0, 0, 1.0]] + [[NAN] * 3])
    weights = balanced_class_weights("multiclass", labels)
    assert weights.tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert (weights * labels.nansum(dim=0)).tolist() == pytest.approx([10 / 3] * 3)


@pytest.mark.parametrize("value", [0.0, 1.0, NAN])
def test_balanced_weight_of_a_finding_with_one_class_is_one(value):
    assert balanced_class_weights("binary", torch.full((3, 1), value)).tolist() == [1.0]


def test_balanced_weight_of_an_absent_class_is_one():
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert balanced_class_weights("multiclass", labels).tolist() == [0.5, 1.0]


def test_balanced_weights_of_other_shapes_are_refused():
    with pytest.raises(ConfigError, match=r"labels: expects \(N, F\), found \(3,\)"):
        balanced_class_weights("binary", torch.zeros(3))


def test_focal_loss_by_hand():
    # p = 3/4 for a positive: (1/4)² log 4/3; the same p for a negative: (3/4)² log 4
    logits = torch.tensor([[math.log(3)], [math.log(3)]], dtype=torch.float64)
    labels = torch.tensor([[1.0], [0.0]])
    expected = (math.log(4 / 3) / 16 + 9 * math.log(4) / 16) / 2
    found = ClassificationLoss("binary", focal_gamma=2)(logits, labels)
    assert found.item() == pytest.approx(expected, abs=1e-12)


def test_multilabel_focal_loss_is_torchvisions_where_labels_are_known():
    logits, labels = draws("multilabel")
    expected = sigmoid_focal_loss(logits, labels, alpha=-1, gamma=2.5, reduction="none")
    labels[0, 1] = labels[3, 2] = NAN
    found = ClassificationLoss("multilabel", focal_gamma=2.5)(logits, labels)
    torch.testing.assert_close(found, expected[~labels.isnan()].mean())


def test_multiclass_focal_loss_by_hand():
    # p = (1/2, 1/4, 1/4); class 0: (1/2)² log 2; class 1: (3/4)² log 4, and twice its weight
    logits = torch.tensor([[math.log(2), 0.0, 0.0]] * 2, dtype=torch.float64)
    labels = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    first, second = math.log(2) / 4, 9 * math.log(4) / 16
    loss = ClassificationLoss("multiclass", focal_gamma=2)
    assert loss(logits, labels).item() == pytest.approx((first + second) / 2, abs=1e-12)
    loss = ClassificationLoss("multiclass", [1, 2, 1], focal_gamma=2)
    assert loss(logits, labels).item() == pytest.approx((first + 2 * second) / 3, abs=1e-7)


@pytest.mark.parametrize("gamma", [1.0, 2.0, 5.0])
def test_focal_loss_of_a_soft_target_is_least_at_the_target(gamma):
    logits = torch.logit(torch.linspace(0.05, 0.95, 91, dtype=torch.float64))[:, None]
    loss = ClassificationLoss("binary", focal_gamma=gamma)
    values = [loss(logit[None], torch.tensor([[0.7]])).item() for logit in logits]
    assert logits.sigmoid()[values.index(min(values))].item() == pytest.approx(0.7, abs=0.006)


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_focal_gradients_are_those_of_finite_differences_and_finite_when_saturated(kind):
    logits, labels = draws(kind)
    labels[1] = NAN
    loss = ClassificationLoss(kind, [0.5, 2.0, 7.0], 0.1, focal_gamma=2)
    assert torch.autograd.gradcheck(lambda z: loss(z, labels), logits.requires_grad_())
    far = torch.tensor([[200.0, -200.0, 0.0]], requires_grad=True)
    ClassificationLoss(kind, focal_gamma=1)(far, torch.tensor([[1.0, 0.0, 0.0]])).backward()
    assert far.grad.isfinite().all()


@pytest.mark.parametrize("gamma", [-1.0, 0.5, math.inf, NAN])
def test_focal_gamma_between_zero_and_one_is_refused(gamma):
    with pytest.raises(ConfigError, match=r"focal_gamma: .* is not accepted; give 0, or 1 or more"):
        ClassificationLoss("binary", focal_gamma=gamma)


def test_loss_is_built_from_a_bundle_config_of_json_values():
    config = {
        "_target_": "medres.training.losses.ClassificationLoss",
        "kind": "multilabel",
        "class_weights": [2, 0.5],
        "label_smoothing": 0.1,
        "focal_gamma": 2,
    }
    parser = ConfigParser({"loss": json.loads(json.dumps(config))})
    loss = parser.get_parsed_content("loss")
    expected = ClassificationLoss("multilabel", torch.tensor([2.0, 0.5]), 0.1, 2.0)
    logits, labels = draws("multilabel", outputs=2)
    assert torch.equal(loss(logits, labels), expected(logits, labels))
