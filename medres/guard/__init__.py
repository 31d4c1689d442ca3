"""Is this an image such as the model was trained on?

Headers, pixels and features are compared with the training images'; how often an image of the
model's own kind is flagged by mistake is fixed on validation images, and stored with the model.
"""
