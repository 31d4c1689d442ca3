"""How is the network fine-tuned?

The schedule of unfreezing as data, the optimizer, losses, and MONAI's trainer.
"""
