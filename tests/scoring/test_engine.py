"""Scores that depend on nobody's batches: what stands beside an image changes nothing of it."""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import pytest
import torch

from medres.config import StemName
from medres.data.normalization import IntensityStatistics
from medres.imaging.isolated import IsolatedReader, NetworkInput
from medres.imaging.limits import LIMITS
from medres.imaging.reader_protocol import ReadRequest
from medres.imaging.resampling import Fit
from medres.models.folded_norm import fold_batch_norm
from medres.models.resnet import GrayscaleResNet
from medres.scoring.engine import Engine
from medres.scoring.inputs import stack_inputs
from medres.scoring.pictures import Facts, Planned
from medres.scoring.predictor import Predictor
from medres.transforms.preprocessing import Preprocessing

RADIOGRAPHS = sorted((Path(__file__).parents[2] / "sample_data" / "studies").rglob("*.dcm"))
STATISTICS = IntensityStatistics(0.0, 1.0, 0.45, 0.25, (0.1, 99.9), 15, 6, 15)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class ReadBefore:
    """A pool of readers that have read already."""

    def __init__(self, images: dict[str, NetworkInput]) -> None:
        self.images = images

    def read_as_done(
        self, call: object, requests: Iterable[tuple[Planned, ReadRequest]], *, ahead: int
    ) -> Iterator[tuple[Planned, NetworkInput]]:
        for planned, _ in requests:
            yield planned, self.images[planned.name]


def read_radiographs(size: int) -> dict[str, NetworkInput]:
    with IsolatedReader(LIMITS) as reader:
        return {
            path.as_posix(): reader.read_input(
                ReadRequest(str(path), 0, "display", fit=Fit(size, "pad"))
            )
            for path in RADIOGRAPHS
        }


def build_predictor(
    depth: int,
    stem: StemName,
    kind: Literal["multilabel", "multiclass"],
    images: dict[str, NetworkInput],
    size: int,
) -> Predictor:
    """As after training: running statistics of radiographs, and logits from about -4 to 4."""
    torch.manual_seed(depth)
    preprocessing = Preprocessing("display", size, "pad", STATISTICS)
    inputs = stack_inputs([*images.values()], preprocessing, rows=len(images))
    network = GrayscaleResNet(depth, stem, 3)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the mean over what it has seen
    head = network.backbone.fc
    with torch.no_grad():
        network.train()(inputs)
        logits = network.eval()(inputs)
        scale = 2 / logits.std(0)
        head.weight *= scale[:, None]
        head.bias.copy_((head.bias - logits.mean(0)) * scale)
    return Predictor(fold_batch_norm(network), kind, preprocessing, torch.device("cpu"))


def score(
    predictor: Predictor, images: dict[str, NetworkInput], names: list[str], batch_size: int
) -> dict[str, list[float]]:
    engine = Engine(predictor, "0" * 64, ReadBefore(images), batch_size)  # type: ignore[arg-type]
    planned = (Planned(0, 0, name, "", "", name, False, 0, 0, Facts()) for name in names)
    return {entry["image"]: entry["p"] for batch in engine.score(planned) for entry in batch}


def shuffled(names: Iterable[str]) -> list[str]:
    mixed = [*names]
    random.Random(0).shuffle(mixed)
    return mixed


def largest_difference(first: dict[str, list[float]], second: dict[str, list[float]]) -> float:
    return max(
        abs(a - b) for name in second for a, b in zip(first[name], second[name], strict=True)
    )


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_scores_are_the_same_to_the_bit_in_batches_of_any_size(
    kind: Literal["multilabel", "multiclass"],
) -> None:
    images = read_radiographs(64)
    predictor = build_predictor(50, "port", kind, images, 64)
    expected = score(predictor, images, [*images], 16)
    for batch_size in (1, 2, 7, 64):
        assert score(predictor, images, shuffled(images), batch_size) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "stem", "kind"),
    [
        (18, "adapter", "multilabel"),
        (34, "duplicate", "multiclass"),
        (50, "port", "multilabel"),
        (101, "duplicate", "multiclass"),
        (152, "adapter", "multilabel"),
    ],
)
def test_scores_of_the_whole_family_depend_on_no_batch(
    depth: int, stem: StemName, kind: Literal["multilabel", "multiclass"]
) -> None:
    images = read_radiographs(224)
    predictor = build_predictor(depth, stem, kind, images, 224)
    expected = score(predictor, images, [*images], 16)
    values = [p for ps in expected.values() for p in ps]
    assert min(values) < 0.2
    assert max(values) > 0.8
    mixed = shuffled(images)
    for batch_size, names in ((1, mixed[:1]), (7, mixed), (64, mixed)):
        found = score(predictor, images, names, batch_size)
        assert largest_difference(expected, found) <= 1e-5


@pytest.mark.parametrize(
    ("size", "rows"), [(32, 16), (224, 16), (512, 16), (768, 7), (1024, 4), (2048, 1), (4096, 1)]
)
def test_a_pass_has_rows_by_the_size_of_its_images_alone(size: int, rows: int) -> None:
    preprocessing = Preprocessing("display", size, "pad", STATISTICS)
    predictor = Predictor(torch.nn.Identity(), "binary", preprocessing, torch.device("cpu"))
    for batch_size in (1, 16, 256):
        engine = Engine(predictor, "", ReadBefore({}), batch_size)  # type: ignore[arg-type]
        assert engine.pass_rows == rows
