"""The header's names for splits, units, phases and statuses."""
from __future__ import annotations

from enum import IntEnum
from typing import Any

from ._abi import CONSTANTS
from ._error import refuse

STATUSES = {name.removeprefix("BNN_"): value for name, value in CONSTANTS.items() if name == "BNN_OK" or name.startswith("BNN_ERR_")}
NO_TOKEN = CONSTANTS["BNN_NO_TOKEN"]
SPLITS = {"train": CONSTANTS["BNN_SPLIT_TRAIN"], "val": CONSTANTS["BNN_SPLIT_VAL"]}
UNITS = {"char": CONSTANTS["BNN_UNIT_CHAR"], "word": CONSTANTS["BNN_UNIT_WORD"]}
STARTS = {"fresh": CONSTANTS["BNN_START_FRESH"], "model": CONSTANTS["BNN_START_MODEL"]}


class Phase(IntEnum):
    """What the next step of a sampler is."""

    WARMUP = CONSTANTS["BNN_PHASE_WARMUP"]
    SAMPLING = CONSTANTS["BNN_PHASE_SAMPLING"]
    DONE = CONSTANTS["BNN_PHASE_DONE"]
    EXPLORATION = CONSTANTS["BNN_PHASE_EXPLORATION"]


PHASES = {int(phase): phase for phase in Phase}


def word(words: dict[str, int], given: Any) -> int:
    """Returns the number of a word of a list. Raises BNN_ERR_INVALID for another."""
    if given not in words:
        raise refuse("BNN_ERR_INVALID", f"{given!r} is none of {', '.join(words)}")
    return words[given]
