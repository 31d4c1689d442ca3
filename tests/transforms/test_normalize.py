import pytest
import torch
from monai.data import MetaTensor

from medres.transforms.normalize import NormalizeGrayscaled


def test_normalize_clips_then_centres_and_scales() -> None:
    image = MetaTensor(torch.tensor([[[-5.0, 0.2, 9.0]]]))
    normalize = NormalizeGrayscaled("image", low=0.0, high=1.0, mean=0.5, std=0.25)
    result = normalize({"image": image, "label": 1})
    assert torch.allclose(result["image"].as_tensor(), torch.tensor([[[-2.0, -1.2, 2.0]]]))
    assert isinstance(result["image"], MetaTensor)
    assert result["label"] == 1


@pytest.mark.parametrize(("low", "high", "std"), [(1.0, 1.0, 1.0), (0.0, 1.0, 0.0)])
def test_normalize_refuses_statistics_that_normalise_nothing(low, high, std) -> None:
    with pytest.raises(ValueError, match="low must be below high and std above 0"):
        NormalizeGrayscaled("image", low=low, high=high, std=std)
