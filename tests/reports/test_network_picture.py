"""A network as text and as a graph."""

from medres.models.layers import list_layers
from medres.models.resnet import GrayscaleResNet
from medres.reports.drawing import as_vector
from medres.reports.network_picture import draw_network, format_layers, summarise_stages

TRAINED = dict.fromkeys(("adapter", "conv1", "layer1"), "none") | {
    "layer2": "batch_norm",
    "layer4": "all",
    "head": "all",
}
LAYERS = list_layers(GrayscaleResNet(18, "adapter", 2), 64)


def test_stages_say_blocks_shapes_parameters_and_what_trained() -> None:
    stages = {stage.stage: stage for stage in summarise_stages(LAYERS, TRAINED)}
    assert list(stages) == ["stem", "conv1", "layer1", "layer2", "layer3", "layer4", "pool", "head"]
    assert stages["stem"].trained == "frozen"
    assert stages["conv1"].parameters == 9408 + 128
    assert stages["conv1"].output == (64, 16, 16)
    assert (stages["layer2"].blocks, stages["layer2"].trained) == (2, "batch-norm alone trained")
    assert stages["layer3"].trained == "not recorded"
    assert stages["layer4"].output == (512, 2, 2)
    assert (stages["pool"].parameters, stages["pool"].trained) == (0, "nothing to train")
    assert (stages["head"].output, stages["head"].trained) == ((2,), "trained")


def test_the_table_holds_every_layer_and_the_stages() -> None:
    lines = format_layers(LAYERS, TRAINED, "a network").splitlines()
    assert lines[0] == "a network"
    assert lines[1] == f"{sum(layer.parameters for layer in LAYERS):,} parameters in 53 layers"
    text = "\n".join(lines)
    assert all(layer.name in text for layer in LAYERS)
    row = "layer4    512 × 2 × 2           8,393,728  trained"
    assert row in lines


def test_the_graph_is_a_vector_file_with_text_and_a_description() -> None:
    drawing = draw_network(LAYERS, TRAINED, 64, "a $ network")
    svg = as_vector(drawing, "svg").decode()
    for text in ("a $ network", "layer3", "256 × 4 × 4", "2,099,712 par.", "batch-norm trained"):
        assert text in svg
    assert as_vector(draw_network(LAYERS, TRAINED, 64, "a $ network"), "svg").decode() == svg
    assert "head gives 2, 1,026 parameters, trained" in drawing.description
