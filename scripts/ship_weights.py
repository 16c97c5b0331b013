"""Round a trained model to float16 and put it where shipped weights stand.

    python scripts/ship_weights.py runs/tiny/model.safetensors blindsr/weights/tiny.safetensors

The card (steps, minutes, the whole training configuration) goes along; folders are left out of it.
"""

import argparse
from pathlib import Path

import torch
from errors import run

from blindsr import checkpoints


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trained", type=Path)
    parser.add_argument("shipped", type=Path)
    arguments = parser.parse_args()
    trained = checkpoints.load(arguments.trained)
    card = trained.card
    training = card.get("training", {})
    training.pop("start_from", None)
    data = training.get("data", {})
    data.pop("folders", None)  # paths of the machine it was trained on
    data.get("degradation", {}).pop("files", None)
    checkpoints.save(arguments.shipped, trained.model, card, dtype=torch.float16)
    shipped = checkpoints.load(arguments.shipped).model.state_dict()
    worst = max(float((shipped[name] - tensor).abs().max()) for name, tensor in trained.model.state_dict().items())
    print(
        f"{arguments.shipped}: {arguments.shipped.stat().st_size} bytes, rounding moved a weight by {worst:.1e} at most"
    )


if __name__ == "__main__":
    run(main)
