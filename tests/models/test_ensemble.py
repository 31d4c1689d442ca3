"""Several networks as one: the mean of their probabilities, each on its own kind of input."""

import json

import pytest
import torch
from monai.bundle import ConfigParser

from medres.errors import ConfigError
from medres.models.ensemble import ResNetEnsemble, mean_probability_logits

MEMBER = {"depth": 18, "stem": "port", "num_outputs": 2}


def build(members: int = 2, kind: str = "multilabel") -> ResNetEnsemble:
    torch.manual_seed(0)
    ensemble = ResNetEnsemble([MEMBER] * members, kind)
    ensemble.train()(torch.randn(8, 1, 64, 64))  # running statistics that normalise
    return ensemble.eval()


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_output_is_the_logit_of_the_mean_probability(kind):
    logits = torch.randn(3, 5, 4, dtype=torch.float64) * 3
    found = mean_probability_logits(logits, kind)
    if kind == "multiclass":
        torch.testing.assert_close(found.softmax(-1), logits.softmax(-1).mean(0))
    else:
        torch.testing.assert_close(found.sigmoid(), logits.sigmoid().mean(0))


def test_mean_by_hand():
    # probabilities 1/2 and 1/4: mean 3/8, logit log 3/5
    logits = torch.log(torch.tensor([[[1.0]], [[1 / 3]]], dtype=torch.float64))
    assert mean_probability_logits(logits, "binary").exp().item() == pytest.approx(3 / 5)


def test_mean_of_saturated_members_stays_finite():
    logits = torch.tensor([[[800.0]], [[-800.0]]])
    assert mean_probability_logits(logits, "binary").item() == 0
    assert mean_probability_logits(torch.full((2, 1, 1), 800.0), "binary").item() == 800


@torch.no_grad()
def test_each_member_sees_the_input_that_it_was_trained_on():
    ensemble = build()
    own = [(10.0, 200.0, 90.0, 40.0), (0.0, 180.0, 80.0, 50.0)]  # low, high, mean, std
    shared = (0.0, 200.0, 85.0, 45.0)
    ensemble.set_inputs(shared, own)
    ensemble.temperature[1] = 2.0
    pixels = torch.rand(4, 1, 64, 64) * 260 - 30
    logits = [
        member((pixels.clamp(low, high) - mean) / std)
        for member, (low, high, mean, std) in zip(ensemble.members, own, strict=True)
    ]
    expected = (logits[0].sigmoid() + (logits[1] / 2).sigmoid()) / 2
    found = ensemble((pixels.clamp(0, 200) - 85) / 45).sigmoid()
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_one_member_alone_is_that_network():
    ensemble, image = build(1), torch.randn(2, 1, 64, 64)
    torch.testing.assert_close(ensemble(image), ensemble.members[0](image), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_state_and_bundle_config_rebuild_it():
    ensemble, image = build(), torch.randn(2, 1, 64, 64)
    ensemble.set_inputs((0, 9, 1, 2), [(1, 9, 2, 2), (0, 8, 1, 3)])
    target = {"_target_": "medres.models.ensemble.ResNetEnsemble", "members": [MEMBER] * 2}
    config = json.loads(json.dumps({"net": {**target, "kind": "multilabel"}}))
    again = ConfigParser(config).get_parsed_content("net")
    again.load_state_dict(ensemble.state_dict())
    assert torch.equal(again.eval()(image), ensemble(image))


def test_members_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match=r"members: 2 with \[1, 2\] outputs; give one or more"):
        ResNetEnsemble([MEMBER, {**MEMBER, "num_outputs": 1}])
    with pytest.raises(ConfigError, match=r"members: 0 with \[\] outputs"):
        ResNetEnsemble([])
    with pytest.raises(ConfigError, match=r"member 1: clips to \[-1, 5\], outside the ensemble's"):
        build(1).set_inputs((0, 9, 1, 2), [(-1, 5, 1, 2)])


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_torchscript_by_which_monai_exports_gives_the_same(kind):
    ensemble, image = build(kind=kind), torch.randn(2, 1, 64, 64)
    assert torch.equal(torch.jit.script(ensemble)(image), ensemble(image))
