"""Which images of an archive a model is meant for, by their headers; stored with the model.

What a header does not say speaks against no image: half of all headers name no body part, and a
picture names nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, NamedTuple, Protocol

from medres.imaging.grayscale import ImageRecord

# Values of Image Type (0008,0008) of images that stand beside those to be read.
ASIDE = ("LOCALIZER", "SCOUT", "OVERVIEW", "THUMBNAIL", "LABEL", "SCREEN_SAVE")
# A digitised film is one too: left out only where the training images say that they are none.
SECONDARY = "SECONDARY"


# In place of values: none is asked for.
ANY = "any"


class Stated(Protocol):
    """Parts of a rule that somebody gives; `ANY` alone takes a part away."""

    @property
    def modality(self) -> tuple[str, ...]:
        """Such as DX."""

    @property
    def body_part(self) -> tuple[str, ...]:
        """Such as CHEST."""

    @property
    def view(self) -> tuple[str, ...]:
        """Such as PA."""

    @property
    def leave_out(self) -> tuple[str, ...]:
        """Values of Image Type."""


class ImageKind(NamedTuple):
    """What a rule looks at, of an `ImageRecord`."""

    modality: str = ""
    body_part: str = ""
    view_position: str = ""
    image_type: tuple[str, ...] = ()

    @classmethod
    def of(cls, record: ImageRecord) -> ImageKind:
        """The kind of one image."""
        return cls(record.modality, record.body_part, record.view_position, record.image_type)


@dataclass(frozen=True)
class ImageRule:
    """What an image's header may say for the image to be scored.

    Args:
        modalities: such as DX; none given accepts all, here and below.
        body_parts: such as CHEST.
        view_positions: such as PA.
        leave_out: values of Image Type that no image to be scored has.
    """

    modalities: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    view_positions: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()

    @classmethod
    def learn(cls, kinds: Iterable[ImageKind]) -> ImageRule:
        """The rule that accepts images like those that a model was trained on.

        A modality, body part or view is asked for only where every training image names one.
        """
        seen = list(kinds)
        types = {value for kind in seen for value in kind.image_type}
        return cls(
            modalities=_all_named(kind.modality for kind in seen),
            body_parts=_all_named(kind.body_part for kind in seen),
            view_positions=_all_named(kind.view_position for kind in seen),
            leave_out=tuple(v for v in (*ASIDE, *[SECONDARY][: len(types)]) if v not in types),
        )

    @classmethod
    def of_any(cls, rules: Sequence[ImageRule]) -> ImageRule:
        """The rule that accepts what one of several models is meant for, of an ensemble of them."""
        return cls(
            modalities=_united(rule.modalities for rule in rules),
            body_parts=_united(rule.body_parts for rule in rules),
            view_positions=_united(rule.view_positions for rule in rules),
            leave_out=tuple(
                value
                for value in rules[0].leave_out
                if all(value in rule.leave_out for rule in rules)
            ),
        )

    def stating(self, asked: Stated) -> ImageRule:
        """The same with what somebody states in place of its own; what is not given stays."""
        given = {
            "modalities": asked.modality,
            "body_parts": asked.body_part,
            "view_positions": asked.view,
            "leave_out": asked.leave_out,
        }
        return replace(
            self,
            **{
                part: () if values == (ANY,) else tuple(value.upper() for value in values)
                for part, values in given.items()
                if values
            },
        )

    def refuse(self, kind: ImageKind) -> str:
        """Why an image is not chosen, such as `modality CT`; "" where it is."""
        for word, found, accepted in (
            ("modality", kind.modality, self.modalities),
            ("body part", kind.body_part, self.body_parts),
            ("view", kind.view_position, self.view_positions),
        ):
            if found and accepted and found not in accepted:
                return f"{word} {found}"
        aside = next((value for value in kind.image_type if value in self.leave_out), "")
        return f"image type {aside}" if aside else ""

    def notes_on(self, training: Sequence[ImageKind]) -> list[str]:
        """What a rule that was stated leaves out of what a model was trained on; often nothing."""
        refused = Counter(why for kind in training if (why := self.refuse(kind)))
        if not refused:
            return []
        reasons = ", ".join(f"{count} {why}" for why, count in refused.most_common())
        note = (
            f"The stated image rule leaves out {refused.total()} of {len(training)} training "
            f"images when an archive is scored: {reasons}."
        )
        return [note]

    @property
    def in_words(self) -> str:
        """The rule on one line, for people."""
        parts = [
            f"{word} {' or '.join(values)}"
            for word, values in (
                ("modality", self.modalities),
                ("body part", self.body_parts),
                ("view", self.view_positions),
            )
            if values
        ]
        if self.leave_out:
            parts.append(f"image type not {', '.join(self.leave_out)}")
        return "; ".join(parts) or "every image"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ImageRule:
        """Rebuild; None of the parts is needed.

        Raises:
            TypeError: a part that is unknown, or no list of texts.
        """
        known = {field.name for field in fields(cls)}
        for name, value in values.items():
            if (
                name not in known
                or not isinstance(value, list)
                or not all(isinstance(item, str) for item in value)
            ):
                raise TypeError(f"image_rule.{name}")
        return cls(**{name: tuple(value) for name, value in values.items()})


EVERY_IMAGE = ImageRule()


def _all_named(values: Iterable[str]) -> tuple[str, ...]:
    found = set(values)
    return () if "" in found else tuple(sorted(found))


def _united(parts: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """All values, each once; none where one part asks for none."""
    given = [*parts]
    return tuple(dict.fromkeys(value for part in given for value in part)) if all(given) else ()
