"""Which network, and how does one gray channel enter it?

The stems (duplicate, port, adapter), the ResNet family with its batch-norm policy, stages, and
ImageNet weights.
"""
