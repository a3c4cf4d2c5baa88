"""Stage "cloze": ask the pretrained models for the facts, in words that they have and have not seen."""

from dataclasses import dataclass

STRATEGIES = ("all_at_once", "left_to_right")
