"""What does a reader of the results see?

The evaluation as JSON and as one self-contained HTML page.
"""
