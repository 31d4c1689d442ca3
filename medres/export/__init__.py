"""How does a model run where medres is not installed?

ONNX, torch.export and OpenVINO programs with normalisation and temperature inside, what goes in and
comes out, and the proof that they agree with the model.
"""
