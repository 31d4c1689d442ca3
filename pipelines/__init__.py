"""What a shell wants: one module a verb, run as `medres VERB` or `python -m pipelines.MODULE`."""
