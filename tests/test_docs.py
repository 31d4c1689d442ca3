"""What the documentation names is there: files, links, commands, options, modules."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from model_records import record_of

import medres
from medres.bundle.workflows import evaluate_config, inference_config, train_config
from pipelines.__main__ import VERBS

ROOT = Path(medres.__file__).parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/RESULTS.md"]
PAGES += sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
PROGRAMMES = sorted(f"pipelines/{module}.py" for module, _ in VERBS.values())
BENCHMARKS = sorted(f"benchmarks/{p.name}" for p in (ROOT / "benchmarks").glob("[!_]*.py"))
MODULES = {module: verb for verb, (module, _) in VERBS.items()}
OTHERS = {"--nproc-per-node", "--read-dataset"}
"""Options of torchrun and of DCMTK."""
CONFIGS = (inference_config, evaluate_config, train_config)
"""Whose keys MONAI's command line takes as options."""
OF_A_MODEL = {"docs/README.md"}
"""Files of a model's directory, named as there are in this one."""


@cache
def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def without_blocks(page: str) -> str:
    return re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_blocks(page)):
        if not target.startswith(("https://", "http://")):
            file, _, anchor = target.partition("#")
            place = (ROOT / page).parent / file if file else ROOT / page
            assert place.exists(), f"{page} links to {target}"
            assert not anchor or anchor in anchors(place), f"{page} links to {target}"


@pytest.mark.parametrize("page", PAGES)
def test_files_and_modules_that_are_named_exist(page: str) -> None:
    for word in re.findall(r"`([^`\s]+)`", without_blocks(page)):
        if re.match(r"(medres|pipelines|tests|benchmarks|docs|constraints)/", word):
            assert word in OF_A_MODEL or (ROOT / word).exists(), f"{page} names {word}"
        elif re.fullmatch(r"(medres|pipelines|benchmarks)(\.\w+)+", word):
            assert resolves(word), f"{page} names {word}"


def resolves(dotted: str) -> bool:
    """Whether a dotted name is a module of ours, or something in one."""
    parts = dotted.split(".")
    for k in range(len(parts), 0, -1):
        place = ROOT / Path(*parts[:k])
        if place.with_suffix(".py").exists() or (place / "__init__.py").exists():
            found: object = importlib.import_module(".".join(parts[:k]))
            for name in parts[k:]:
                if not hasattr(found, name):
                    return False
                found = getattr(found, name)
            return True
    return False


def commands(page: str) -> Iterator[str]:
    """Lines that a page or a docstring sets apart for a shell, whole."""
    text = text_of(page)
    if page.endswith(".py"):
        text = text.split('"""')[1]
    blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    blocks += re.findall(r"^    (.*)$", re.sub(r"\\\n\s*", " ", text), flags=re.MULTILINE)
    for line in "\n".join(blocks).splitlines():
        if re.match(r"medres [a-z]|torchrun |python -m (pipelines|benchmarks)\.", line):
            yield line


def command_lines() -> list[tuple[str, list[str]]]:
    """The page and the words of every command of ours."""
    lines = []
    for page in [*PAGES, *PROGRAMMES, *BENCHMARKS]:
        for line in commands(page):
            words = shlex.split(line, comments=True)
            if words[0] == "torchrun":
                words = ["python", *words[words.index("-m") :]]
            if words[0] == "python" and words[2].startswith("pipelines."):
                words = ["medres", MODULES[words[2].removeprefix("pipelines.")], *words[3:]]
            lines.append((page, words))
    return lines


COMMANDS = command_lines()


WHOLE = [(page, words) for page, words in COMMANDS if words[0] == "medres" and "..." not in words]


@pytest.mark.parametrize(("page", "words"), WHOLE, ids=str)
def test_command_is_taken(page: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    verb, *rest = words[1:]
    assert verb in VERBS
    module = importlib.import_module(f"pipelines.{VERBS[verb][0]}")
    called = []

    def run(*arguments: object, **options: object) -> None:
        called.append(arguments)

    for name in ("run", "describe"):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, run)
    monkeypatch.setattr("pipelines.xray_train.run", run)
    monkeypatch.setattr("pipelines.dry_run.run", run)
    monkeypatch.setattr("pipelines.sample.make_sample_manifest", lambda _: None)
    monkeypatch.setattr("pipelines.show.print_record", lambda _: None)
    monkeypatch.chdir(ROOT)
    assert module.main(rest) == 0, page
    assert len(called) == 1, page


@pytest.mark.parametrize(("page", "words"), [c for c in COMMANDS if c[1][0] == "python"], ids=str)
def test_benchmark_has_the_options_that_are_shown(page: str, words: list[str]) -> None:
    path = ROOT / Path(*words[2].split(".")).with_suffix(".py")
    text = path.read_text(encoding="utf-8")
    for word in words[3:]:
        assert not word.startswith("--") or f'"{word}"' in text, f"{page}: {words}"


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """The options of each verb, as its help lists them."""
    listed = {}
    for verb, (module, _) in VERBS.items():
        said = io.StringIO()
        with contextlib.redirect_stdout(said), pytest.raises(SystemExit):
            importlib.import_module(f"pipelines.{module}").main(["--help"])
        listed[verb] = set(re.findall(r"--[a-z][\w.-]*", said.getvalue()))
    return listed


@pytest.mark.parametrize("page", PAGES)
def test_options_that_are_named_are_known(page: str, options: dict[str, set[str]]) -> None:
    own = [*BENCHMARKS, "tests/fuzz_imaging.py"]
    theirs = {option for path in own for option in re.findall(r'"(--[\w-]+)"', text_of(path))}
    of_bundles = {f"--{key}" for make in CONFIGS for key in make(record_of(""))}
    known = set.union(*options.values()) | theirs | of_bundles | OTHERS
    cut = [" ".join(words) for where, words in COMMANDS if where == page and "..." in words]
    for code in [*cut, *re.findall(r"`([^`]+)`", without_blocks(page))]:
        named = set(re.findall(r"(?<![\w-])--[a-z][\w.-]*", code))
        verb = re.match(r"medres ([a-z][\w-]*)", code)
        if verb:
            assert verb[1] in VERBS, f"{page}: {code}"
        assert named <= (options[verb[1]] if verb else known), f"{page}: {code}"
