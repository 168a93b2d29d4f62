"""Clinical weights for BUNET, under CC BY-NC-SA 4.0. MODEL_CARD.md says what that asks and what they were learned from."""

from pathlib import Path

FOLDER = Path(__file__).parent
"""Where `infection-x.safetensors` and the others lie."""
