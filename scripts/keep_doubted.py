"""Let a blind model have a restorer that went on learning with true kernels, and lose nothing where kernels are doubted.

    blindsr train usrnet_tiny --set 'start_from=[tiny:restorer]' --set 'rest=[restorer.hyper_changes,restorer.prior_changes]'
    python scripts/keep_doubted.py tiny runs/usrnet_tiny/model.safetensors runs/kept/model.safetensors

What changes in a restorer with the doubt was learned for the weights that it had then. Added to other weights it does harm:
camera shake that was not found lost half a decibel and more. So the changes are computed anew: in full they lead, as nearly
as their rank allows, to where they led before; told the kernel, the model restores as the new restorer does.
"""

import argparse
from pathlib import Path

import torch
from errors import run

from blindsr import checkpoints
from blindsr.alternating import AlternatingSR
from blindsr.interfaces import BlindSRError
from blindsr.restorers.usrnet import USRNet


def doubting(name: str) -> checkpoints.Checkpoint:
    """A checkpoint whose restorer changes with the doubt."""
    checkpoint = checkpoints.load(name)
    restorer = checkpoint.model.restorer
    if not isinstance(restorer, USRNet) or not restorer.doubts:
        raise BlindSRError(f"nothing in the restorer of {name} changes with the doubt; give one with a doubt_rank")
    return checkpoint


@torch.no_grad()
def keep(blind: AlternatingSR, told: AlternatingSR) -> None:
    """Give ``blind`` the restorer of ``told``, and changes that lead from there to where its own led."""
    if blind.config.restorer != told.config.restorer:
        raise BlindSRError("the two restorers differ in their sizes or options; give one that was trained from the other")
    for name in ("prior", "hyper"):
        module, changes = getattr(blind.restorer, name), getattr(blind.restorer, f"{name}_changes")
        wanted = changes.weights(module, torch.ones(()))
        module.load_state_dict(getattr(told.restorer, name).state_dict())
        changes.reach(module, wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("blind", help="a shipped name or a .safetensors file with a blind model")
    parser.add_argument("told", help="a file whose restorer was trained from that of the first, told the kernel")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    checkpoint = doubting(arguments.blind)
    keep(checkpoint.model, doubting(arguments.told).model)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    checkpoints.save(arguments.out, checkpoint.model, checkpoint.card)


if __name__ == "__main__":
    run(main)
