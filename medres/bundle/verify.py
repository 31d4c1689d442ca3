"""Check a model: its files, its record, and everything that MONAI's own tools ask of a bundle.

MONAI evaluates a bundle's configs as code. So its tools run only on a model whose files are all as
they were written, and whose configs are, byte by byte, what this medres writes for its record;
`trust` lets them run on others.
"""

from __future__ import annotations

import importlib.util
import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from medres.bundle.digests import DIGESTS, compare_digests
from medres.bundle.directory import WEIGHTS, Model, generated_files, load_model
from medres.bundle.parts import part, read_part
from medres.bundle.trial import Trial, prepare_trial
from medres.contained import quiet_logs, same_search_path
from medres.errors import BundleError, MedresError

MOST_DIFFERENT: Final = 1e-4
"""Between a probability of MONAI's run and medres' own."""
Outcome = Literal["passed", "failed", "not run"]


@dataclass(frozen=True)
class Check:
    """One question about a model, and its answer.

    Attributes:
        name: the question, in a few words.
        outcome: passed, failed, or not run.
        detail: what was found.
    """

    name: str
    outcome: Outcome
    detail: str = ""


def verify_model(folder: Path, *, trust: bool = False) -> Iterator[Check]:
    """Answer every question about a model, one by one.

    Args:
        folder: of the model.
        trust: run MONAI's tools, which run a bundle's configs as code, whatever the files hold.
    """
    whole = [_ask("files", lambda: _check_files(folder))]
    yield whole[-1]
    loaded: list[Model] = []
    whole.append(_ask("record and weights", lambda: _check_model(folder, loaded)))
    yield whole[-1]
    if loaded:
        whole.append(_ask("configs", lambda: _check_configs(loaded[0])))
        yield whole[-1]
    safe = trust or all(check.outcome == "passed" for check in whole)
    reason = "MONAI's tools run a model's configs as code, and these are not as they were written"
    if not safe or not loaded:
        shown = f"{reason}: --trust runs them" if loaded else "the model cannot be loaded"
        yield from (Check(name, "not run", shown) for name in MONAI_CHECKS)
        return
    with tempfile.TemporaryDirectory() as scratch:
        with quiet_logs():
            trial = prepare_trial(loaded[0], Path(scratch))
        for name, check in MONAI_CHECKS.items():
            with quiet_logs(), same_search_path():
                answer = _ask(name, lambda check=check: check(trial))  # type: ignore[misc]
            yield answer


def _ask(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, "passed", check())
    except _NotRunError as error:
        return Check(name, "not run", str(error))
    except MedresError as error:
        return Check(name, "failed", str(error))
    except Exception as error:  # whatever MONAI raises, and what it was raised for
        causes = [error, *_causes(error)]
        return Check(name, "failed", "; ".join(f"{type(e).__name__}: {e}" for e in causes))


def _causes(error: BaseException) -> Iterator[BaseException]:
    while error.__cause__ is not None:
        error = error.__cause__
        yield error


class _NotRunError(Exception):
    """A check that this installation cannot make."""


def _check_files(folder: Path) -> str:
    recorded = read_part(folder, DIGESTS)
    differences = compare_digests(folder, recorded)
    if differences:
        raise BundleError(f"{differences}; restore the files, or write the model again")
    return f"{len(recorded['sha256'])} files as they were written"


def _check_model(folder: Path, loaded: list[Model]) -> str:
    loaded.append(load_model(folder))
    unknown = loaded[0].record.unknown
    return f"without {', '.join(sorted(unknown))}, which this medres does not know" * bool(unknown)


def _check_configs(model: Model) -> str:
    different = [
        name
        for name, text in generated_files(model.record).items()
        if name.startswith("configs/")
        and part(model.folder, name).read_text(encoding="utf-8") != text
    ]
    if different:
        raise BundleError(
            f"{', '.join(different)}: not what this medres writes for this record; they were "
            "edited, or another version has written them"
        )
    return ""


def _check_metadata(trial: Trial) -> str:
    from monai.bundle import verify_metadata

    schema = trial.config("metadata_schema")
    verify_metadata(
        meta_file=trial.config("metadata"),
        filepath=schema,
        hash_type="sha256",
        hash_val=trial.digests["configs/metadata_schema.json"],
    )
    return ""


def _check_network(trial: Trial) -> str:
    from monai.bundle import verify_net_in_out

    verify_net_in_out(
        net_id="network_def",
        meta_file=trial.config("metadata"),
        config_file=trial.config("inference"),
        device="cpu",
    )
    return ""


def _check_properties(trial: Trial) -> str:
    for name, kind in (("inference", "infer"), ("evaluate", "infer"), ("train", "train")):
        workflow = trial.workflow(name, kind)
        workflow.initialize()
        if lacking := workflow.check_properties():
            raise BundleError(f"{name}.json lacks {', '.join(lacking)}")
    return ""


def _check_inference(trial: Trial) -> str:
    trial.run("inference", "infer")
    lines = (trial.output / "predictions.csv").read_text(encoding="utf-8").split()
    found = [[float(cell) for cell in line.split(",")[1:]] for line in lines]
    largest = trial.largest_difference(found)
    if not largest <= MOST_DIFFERENT:
        raise BundleError(
            f"MONAI's probabilities differ from medres' by {largest:.2g}, above {MOST_DIFFERENT:g}"
        )
    return f"{len(found)} images, largest difference to medres' own probabilities {largest:.1g}"


def _check_evaluation(trial: Trial) -> str:
    trial.run("evaluate", "infer")
    read_part(trial.output, "evaluation.json")
    return ""


def _check_training(trial: Trial) -> str:
    trial.run("train", "train", epochs=1, batch_size=2)
    load_model(trial.output / "model")
    return "one epoch; what it leaves is a model"


def _check_onnx(trial: Trial) -> str:
    from monai.bundle import onnx_export

    if lacking := [n for n in ("onnx", "onnxscript") if importlib.util.find_spec(n) is None]:
        raise _NotRunError(f"{' and '.join(lacking)} not installed; the extra `export` has them")
    with redirect_stdout(io.StringIO()):  # torch's exporter tells of each step
        onnx_export(
            net_id="network_def",
            filepath=str(trial.output / "model.onnx"),
            ckpt_file=str(trial.model.folder / WEIGHTS),
            meta_file=trial.config("metadata"),
            config_file=trial.config("inference"),
        )
    return ""


MONAI_CHECKS: dict[str, Callable[[Trial], str]] = {
    "verify_metadata": _check_metadata,
    "verify_net_in_out": _check_network,
    "properties": _check_properties,
    "run inference": _check_inference,
    "run evaluate": _check_evaluation,
    "run train": _check_training,
    "onnx_export": _check_onnx,
}
