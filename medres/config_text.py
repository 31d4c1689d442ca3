"""A run's configuration as flags and YAML: every key checked, and written so that it reads back.

A flag beats the file, the file beats the default.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from medres.config import ImageRuleConfig, RunConfig
from medres.config_check import check_config
from medres.errors import ConfigError


def parse_config(argv: Sequence[str], *, prog: str, description: str = "") -> RunConfig:
    """Read a run's configuration from a command line.

    Args:
        argv: arguments; `--config FILE` may stand anywhere, flags beat it.
        prog: the program's name, for its help.
        description: one paragraph for its help.

    Raises:
        ConfigError: an unknown key or flag, naming the nearest valid one; a value of the wrong
            type or outside its range; a file that is no YAML mapping.
    """
    import argparse

    import jsonargparse

    parser = jsonargparse.ArgumentParser(
        prog=prog,
        usage=f"{prog} [--config FILE] [--KEY VALUE ...]",
        description=description,
        exit_on_error=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", action="config", help="YAML file; flags beat it")
    parser.add_class_arguments(RunConfig, None)
    arguments = _config_first(argv)
    for name, value in itertools.pairwise(arguments):
        if name == "--config":
            check_config_file(Path(value))
    _check_flags(arguments)
    try:
        config: RunConfig = parser.instantiate(parser.parse_args(arguments)).as_dict()
    except argparse.ArgumentError as error:
        raise _wrong_value(str(error)) from error
    return check_config(_from_namespace(config))


def _wrong_value(message: str) -> ConfigError:
    """Say jsonargparse's message in our own words: key, found, accepted."""
    found = re.search(
        r'Parser key "([\w.]+)":.*(?:Got|Given) value: (.*)', message, flags=re.DOTALL
    )
    if found is None:
        return ConfigError(message)
    key, value = found.groups()
    record: Any = RunConfig
    for name in key.split(".")[:-1]:
        record = get_type_hints(record)[name]
    accepted = get_type_hints(record)[key.rsplit(".", 1)[-1]]
    if get_origin(accepted) is Literal:
        words = "one of " + ", ".join(str(choice) for choice in get_args(accepted))
    elif accepted == float | None:
        words = "a number, or null for the default"
    elif accepted == tuple[float, float] | None:
        words = "two numbers, as [0.95, 0.9], or null"
    else:
        words = getattr(accepted, "__name__", str(accepted))
        words = str(accepted) if words in ("tuple", "Union") else words
    return ConfigError(f"{key}: {value.strip()} is not accepted; give {words}")


def _from_namespace(values: Any) -> RunConfig:
    known = {f.name for f in dataclasses.fields(RunConfig)}
    return RunConfig(**{key: value for key, value in values.items() if key in known})


def _config_first(argv: Sequence[str]) -> list[str]:
    """Move `--config FILE` to the front: jsonargparse lets whatever comes later win."""
    first: list[str] = []
    rest: list[str] = []
    words = iter([re.sub(r"^--images(?==|$)", "--evaluation.images", word) for word in argv])
    for word in words:
        if word == "--config":
            value = next(words, None)
            if value is None:
                raise ConfigError("--config: expects a YAML file")
            first += [word, value]
        elif word.startswith("--config="):
            first += ["--config", word.removeprefix("--config=")]
        else:
            rest.append(word)
    return first + _words_as_lists(rest)


def _words_as_lists(arguments: list[str]) -> list[str]:
    """Let `--data.findings a,b` mean `--data.findings [a, b]`."""
    parts = [f"--image_rule.{part.name}" for part in dataclasses.fields(ImageRuleConfig)]
    lists = {"--data.findings", "--data.where", *parts}
    return [
        f"[{word}]" if previous in lists and not word.startswith("[") else word
        for previous, word in zip(["", *arguments], arguments, strict=False)
    ]


def _valid_keys(record: type, prefix: str = "") -> list[str]:
    """Every dotted key of a configuration record, groups included."""
    keys = []
    for f in dataclasses.fields(record):
        keys.append(prefix + f.name)
        default = f.default_factory() if callable(f.default_factory) else f.default
        if dataclasses.is_dataclass(default):
            keys += _valid_keys(type(default), f"{prefix}{f.name}.")
    return keys


def _unknown_key(where: str, key: str) -> ConfigError:
    valid = _valid_keys(RunConfig)
    leaf = key.rsplit(".", 1)[-1]
    by_leaf = [name for name in valid if name.rsplit(".", 1)[-1] == leaf]
    leaves = {name.rsplit(".", 1)[-1]: name for name in valid}
    near = by_leaf or difflib.get_close_matches(key, valid, n=1, cutoff=0.7)
    near = near or [leaves[n] for n in difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.7)]
    hint = f"; did you mean {near[0]!r}?" if near else f"; valid keys are {', '.join(valid)}"
    return ConfigError(f"{where}: unknown key {key!r}{hint}")


def _check_flags(arguments: Sequence[str]) -> None:
    valid = {*_valid_keys(RunConfig), "config", "help", "print_config"}
    for word in arguments:
        if word.startswith("--"):
            key = word[2:].split("=", 1)[0].removesuffix("+")
            if key not in valid:
                raise _unknown_key("command line", key)


def check_config_file(path: Path) -> None:
    """Refuse a configuration file with keys that do not exist, naming the nearest.

    Raises:
        ConfigError: no such file, no YAML mapping, or an unknown key.
    """
    import yaml

    if not path.is_file():
        raise ConfigError(f"{path}: no such configuration file")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a YAML file") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expects a YAML mapping of keys, such as 'seed: 0'")
    _check_keys(str(path), values, _valid_keys(RunConfig))


def _check_keys(where: str, values: dict[Any, Any], valid: list[str], prefix: str = "") -> None:
    for name, value in values.items():
        key = f"{prefix}{name}"
        if key not in valid:
            raise _unknown_key(where, key)
        if isinstance(value, dict):
            _check_keys(where, value, valid, f"{key}.")


def config_as_json(config: RunConfig) -> dict[str, Any]:
    """The configuration as plain JSON values, in the order of its fields."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config), default=_plain))
    return values


def _plain(value: object) -> str:
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"not a configuration value: {type(value).__name__}")


def format_config(config: RunConfig) -> str:
    """The resolved configuration as YAML, ready for `--config`."""
    import yaml

    text: str = yaml.safe_dump(config_as_json(config), sort_keys=False)
    return text
