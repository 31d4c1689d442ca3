"""One command for everything: `medres VERB`, the same as `python -m pipelines.MODULE`.

Importing this module imports neither torch nor monai, so that `--help` answers at once.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import medres

VERBS = {
    "demo": ("demo", "train on the sample data and show the result"),
    "prepare": ("prepare", "make a manifest from images and a label table"),
    "train": ("xray_train", "train a model and write its report"),
    "slice-train": ("slice_train", "the same on slices of CT or MR volumes"),
    "lr-range": ("lr_range", "find a learning rate for a training"),
    "sweep": ("sweep", "train with several seeds; mean and spread"),
    "cross-validate": (
        "cross_validate",
        "train in folds by patient; judge them, and keep them all",
    ),
    "report": ("report", "judge scores of any program, from a table"),
    "evaluate": ("evaluate", "judge a model on labelled images"),
    "recalibrate": ("recalibrate", "fit a model's probabilities and thresholds to a new site"),
    "score": ("score", "score images that have no labels"),
    "gather": ("gather", "put the results of an archive's shards into one folder"),
    "verify": ("verify", "check a model's files, and all that MONAI's own tools ask of it"),
    "join": ("join", "put a site's own labels beside its scores, for a report"),
    "drift": ("drift", "compare two scored archives: scores, guard, rejects, scanners"),
    "fold": ("fold", "put a model's stem into its first convolution, exactly or not at all"),
    "export": ("export", "write a model as ONNX, torch.export or OpenVINO, and check it"),
    "explain": ("explain", "see where in an image a model sees a finding"),
    "serve": ("serve", "look at runs and scored archives in a browser"),
    "show": ("show", "look at one image as medres sees it"),
    "index": ("index", "list the images of a folder, and why others are none"),
    "doctor": ("doctor", "say what this installation can read and run"),
}

USAGE = "\n".join(
    [
        "usage: medres VERB [options]",
        "",
        *(f"  {verb:<14} {words}" for verb, (_, words) in VERBS.items()),
        "",
        "medres VERB --help says more; medres --version prints the version.",
    ]
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"medres {medres.__version__}")
        return 0
    verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS:
        print(f"medres: no verb {verb!r}; there are {', '.join(VERBS)}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"pipelines.{VERBS[verb][0]}")
    status: int = module.main(rest)
    return status


if __name__ == "__main__":
    sys.exit(main())
