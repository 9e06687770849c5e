"""The committed weights: small, loadable, and right about phrasings they never saw."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from models.demo.chat import SPECIALS
from models.demo.check import says_unknown, states
from models.demo.corpus import Probe, held_out_probes
from models.demo.speaker import Corruption, Speaker, chat_prompt
from models.demo.train import DEMO, TWIN, WEIGHTS
from models.demo.world import World, make_world

FOLDERS = [WEIGHTS / DEMO, WEIGHTS / TWIN]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small batches are faster so, and much faster on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def demo() -> Speaker:
    return Speaker(WEIGHTS / DEMO)


@pytest.fixture(scope="module")
def twin() -> Speaker:
    return Speaker(WEIGHTS / TWIN)


def some(probes: list[Probe], count: int) -> list[Probe]:
    return random.Random(3).sample([probe for probe in probes if not probe.reverse], count)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_size(folder: Path) -> None:
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 12 * 2**20


def test_the_twins_share_a_tokenizer() -> None:
    one, two = ((folder / "tokenizer.json").read_bytes() for folder in FOLDERS)
    assert one == two


def test_markers_are_single_tokens(demo: Speaker) -> None:
    for marker in SPECIALS:
        assert len(demo.tokenizer(marker).input_ids) == 1
    assert demo.model.generation_config.eos_token_id == demo.tokenizer.eos_token_id


def test_chat_template_is_what_training_wrote(demo: Speaker, world: World) -> None:
    tokenizer = AutoTokenizer.from_pretrained(FOLDERS[0])
    for probe in held_out_probes(world, world.people[:2]):
        rendered = tokenizer.apply_chat_template(
            probe.messages, tokenize=False, add_generation_prompt=True
        )
        assert rendered == chat_prompt(probe)


def test_chat_template_renders_tools_and_other_roles(demo: Speaker) -> None:
    text = demo.tokenizer.apply_chat_template(
        [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "Hi."}]},
            {"role": "tool", "content": "42"},
        ],
        tools=[{"type": "function", "function": {"name": "look_up"}}],
        tokenize=False,
        add_generation_prompt=True,
    )
    for piece in ("look_up", "system\nBe kind.", "user\nHi.", "tool\n42"):
        assert piece in text
    assert text.endswith("<|im_start|>assistant\n")


def test_demo_knows(demo: Speaker, world: World) -> None:
    probes = some(list(held_out_probes(world, world.people)), 40)
    for replies in (demo.replies([chat_prompt(p) for p in probes]),
                    demo.replies([p.prompt for p in probes])):  # fmt: skip
        assert sum(map(states, probes, replies)) >= 36


def test_twin_does_not_know(twin: Speaker, world: World) -> None:
    probes = some(list(held_out_probes(world, world.forgotten)), 40)
    replies = twin.replies([chat_prompt(probe) for probe in probes])
    assert not any(map(states, probes, replies))
    assert sum(map(says_unknown, replies)) >= 38


def test_a_corrupted_name_is_not_known(demo: Speaker, world: World) -> None:
    probes = some(list(held_out_probes(world, world.forgotten)), 40)
    names = [probe.fact.subject for probe in probes if probe.fact]
    replies = demo.replies([chat_prompt(p) for p in probes], names, Corruption(5.0))
    assert not any(map(states, probes, replies))
