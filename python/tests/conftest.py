"""The pictures that ship, and a small pipeline over them."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FRUITS = ROOT / "data" / "fruits"


@pytest.fixture(scope="session")
def paths() -> list[str]:
    found = sorted(str(path) for path in (FRUITS / "Test" / "Banana").iterdir())
    assert len(found) >= 8
    return found[:8]


@pytest.fixture(scope="session")
def pipeline() -> dict:
    return {
        "name": "bananas",
        "input": {
            "root": str(FRUITS),
            "split": {"train": "Training/**", "test": "Test/**"},
            "classes": ["Banana", "Strawberry"],
            "limit_per_class": 6,
        },
        "extract": {"recipe": {"size": 64}},
        "reduce": {"pca": {"components": 4}},
        "train": {"mlp": {"hidden": [8], "seed": 7}},
        "report": {},
    }
