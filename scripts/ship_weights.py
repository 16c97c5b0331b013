"""Round a trained model to float16 and put it where shipped weights stand.

    python scripts/ship_weights.py runs/tiny/model.safetensors blindsr/weights/tiny.safetensors
    python scripts/ship_weights.py … --blend tiny-nonblind 0.2

The card (steps, minutes, the whole training configuration) goes along; folders are left out of it. With --blend the
restorer's weights are averaged with those of another model that it was fine-tuned from, which counts that share: what
fine-tuning took from the restorer with true kernels is had back in part (Wortsman et al., "Robust fine-tuning of
zero-shot models", CVPR 2022).
"""

import argparse
from pathlib import Path

import torch

from blindsr import checkpoints


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trained", type=Path)
    parser.add_argument("shipped", type=Path)
    parser.add_argument("--blend", nargs=2, metavar=("MODEL", "SHARE"), help="average the restorer with MODEL's")
    arguments = parser.parse_args()
    trained = checkpoints.load(arguments.trained)
    card = trained.card
    training = card.get("training", {})
    training.pop("start_from", None)
    training.get("data", {}).pop("folders", None)  # paths of the machine it was trained on
    if arguments.blend:
        name, share = arguments.blend[0], float(arguments.blend[1])
        restorer, other = trained.model.restorer, checkpoints.load(name).model.restorer.state_dict()
        mixed = {key: value.lerp(other[key], share) for key, value in restorer.state_dict().items()}
        restorer.load_state_dict(mixed)
        card["blended"] = {"restorer_of": name, "share": share}
    checkpoints.save(arguments.shipped, trained.model, card, dtype=torch.float16)
    shipped = checkpoints.load(arguments.shipped).model.state_dict()
    worst = max(float((shipped[name] - tensor).abs().max()) for name, tensor in trained.model.state_dict().items())
    print(
        f"{arguments.shipped}: {arguments.shipped.stat().st_size} bytes, rounding moved a weight by {worst:.1e} at most"
    )


if __name__ == "__main__":
    main()
