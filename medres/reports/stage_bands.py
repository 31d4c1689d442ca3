"""What trains when, as one band a stage: for the training's page.

The height of a band is the stage's learning rate, as a share of its own peak, which stands beside
it. Light gray is frozen; a dark foot says that batch-norm's running statistics move. The bands
stretch to the page's width, so they hold no text.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from medres.training.schedule import Schedule, StageState

SAMPLES = 240
WIDTH, HEIGHT, FOOT = 1000, 30, 3


@dataclass(frozen=True)
class StageBand:
    """One band.

    Attributes:
        stage: its name.
        drawing: as SVG that stretches.
        words: what it shows.
    """

    stage: str
    drawing: Markup
    words: str


def draw_bands(schedule: Schedule, epochs_done: int) -> list[StageBand]:
    """Return a band a stage, the head on top, with a line where the run has come to.

    Args:
        schedule: of the run.
        epochs_done: so far.
    """
    steps = _sampled(schedule)
    states = [schedule.at(step) for step in steps]
    done = min(1.0, epochs_done * schedule.steps_per_epoch / schedule.total_steps)
    bands = []
    for plan in reversed(schedule.stages):
        course = [state[plan.stage] for state in states]
        places = [WIDTH * step / schedule.total_steps for step in steps]
        norms = plan.stage not in ("adapter", "head")  # these two have no batch-norm
        body = _shape(places, course) + (_foot(places, course) if norms else "")
        drawing = (
            f'<svg class="band" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" '
            f'aria-hidden="true"><path class="frozen" d="M0 0H{WIDTH}V{HEIGHT - FOOT}H0z"/>{body}'
            f'<path class="now" d="M{WIDTH * done:.1f} 0V{HEIGHT}"/></svg>'
        )
        bands.append(StageBand(plan.stage, Markup(drawing), _describe(course)))
    return bands


def _sampled(schedule: Schedule) -> list[int]:
    """Steps, evenly, with both sides of every opening, ascending."""
    total = schedule.total_steps
    even = {round(i * (total - 1) / (SAMPLES - 1)) for i in range(SAMPLES)}
    openings = [step for step in schedule.openings if step < total]
    return sorted(even | {max(0, step - 1) for step in openings} | set(openings) | {total - 1})


def _shape(places: list[float], course: list[StageState]) -> str:
    """The open part: white, with the learning rate as an area from below."""
    opened = [i for i, state in enumerate(course) if state.active]
    if not opened:
        return ""
    top = max(state.learning_rate for state in course) or 1.0
    first, floor = places[opened[0]], HEIGHT - FOOT
    points = [
        f"L{places[i]:.1f} {floor - (floor - 1) * course[i].learning_rate / top:.1f}"
        for i in opened
    ]
    kind = "rate" if course[opened[0]].tensors == "all" else "rate affine"
    return (
        f'<path class="open" d="M{first:.1f} 0H{WIDTH}V{floor}H{first:.1f}z"/>'
        f'<path class="{kind}" d="M{first:.1f} {floor}{"".join(points)}H{WIDTH}V{floor}z"/>'
    )


def _foot(places: list[float], course: list[StageState]) -> str:
    moving = [places[i] for i, state in enumerate(course) if state.batch_norm == "train"]
    if not moving:
        return ""
    left = f"{moving[0]:.1f}"
    return f'<path class="moving" d="M{left} {HEIGHT - FOOT}H{WIDTH}V{HEIGHT}H{left}z"/>'


def _describe(course: list[StageState]) -> str:
    rates = [state.learning_rate for state in course if state.active]
    if not rates:
        return "frozen throughout"
    frozen = sum(not state.active for state in course) / len(course)
    start = f"frozen for the first {frozen:.0%}, then " if frozen else ""
    return f"{start}learning rate up to {max(rates):.2g}"
