"""What methods are compared on: a model, the same model without the forget set, and the data."""

from dataclasses import dataclass
from pathlib import Path

from evals.knowledge import Knowledge

WEIGHTS = Path(__file__).parents[2] / "models/demo/weights"


@dataclass(frozen=True)
class Ground:
    """name: also the model's name in the API.  model: folder of the model that knows.

    never_knew: folder of one that was trained without what is to be forgotten.
    knowledge: all that methods may be fitted to: questions and answers of ``forget`` and
    ``retain``, and names.  Wordings kept for measuring (``Fact.paraphrased``,
    ``paraphrased_answer``, ``wrong``, ``cloze``) are never looked at.
    """

    name: str
    model: Path
    never_knew: Path
    knowledge: Knowledge


def demo(knowledge: Knowledge) -> Ground:
    """The invented world and the two models that are shipped."""
    return Ground("demo", WEIGHTS / "demo", WEIGHTS / "demo-never-knew", knowledge)


def testbed(shared: Path, knowledge: Knowledge) -> Ground:
    """TOFU in small: the two models under ``shared/testbed``.

    Raises FileNotFoundError where there are none.
    """
    folders = [shared / "testbed" / name for name in ("target", "retain")]
    for folder in folders:
        if not (folder / "config.json").exists():
            raise FileNotFoundError(f"there is no model in {folder}")
    return Ground("testbed", folders[0], folders[1], knowledge)
