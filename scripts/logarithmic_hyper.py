"""Give a trained USRNet hyper-parameters on logarithmic scales, without losing what it has learned.

    python scripts/logarithmic_hyper.py tiny runs/logarithmic/model.safetensors

A new H (`logarithmic: true`) is fitted to the α and β that the old one answers, over noise levels, scales and doubts; all
other weights stay. The result restores as before, to within the errors that are printed, and can be trained on from there:
`--set model.restorer.logarithmic=true --set 'start_from=[runs/logarithmic/model.safetensors:restorer]'`.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from errors import run
from torch import Tensor, nn
from tqdm import trange

from blindsr import checkpoints
from blindsr.alternating import AlternatingSR
from blindsr.restorers.usrnet import USRNet


def draw(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noise levels in [0, 1], a fifth of them 0; scales; doubts: (n,) each."""
    sigma = torch.exp(torch.empty(n).uniform_(-3, 3.4)) / 255 * (torch.rand(n) > 0.2)
    return sigma, torch.randint(1, 5, (n,)).float(), torch.exp(torch.empty(n).uniform_(-4, 0))


def answers(restorer: USRNet, sigma: Tensor, scale: Tensor, doubt: Tensor | None) -> Tensor:
    """log α and log β of every iteration, (n, 2 K)"""
    return restorer.hyper_parameters(restorer.settings(sigma, scale, doubt), doubt).log()


def logarithmic(model: AlternatingSR, steps: int) -> AlternatingSR:
    config = model.config
    new = AlternatingSR(replace(config, restorer=replace(config.restorer, logarithmic=True)), model.basis)
    weights = {name: w for name, w in model.state_dict().items() if not name.startswith("restorer.hyper")}
    new.load_state_dict(weights, strict=False)
    parts = [part for name, part in new.restorer.named_children() if name.startswith("hyper")]
    optimizer = torch.optim.Adam(nn.ModuleList(parts).parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for _ in trange(steps, unit="step"):
        sigma, scale, doubt = draw(1024)
        told = [None, doubt] if new.restorer.doubts else [None]
        loss = 0.0
        for d in told:
            with torch.no_grad():
                wanted = answers(model.restorer, sigma, scale, d)
            loss = loss + nn.functional.smooth_l1_loss(answers(new.restorer, sigma, scale, d), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        for d, words in zip(told, ("kernel known", "kernel doubted")):
            off = (answers(new.restorer, sigma, scale, d) - answers(model.restorer, sigma, scale, d)).abs()
            print(f"{words}: α and β are off by {off.expm1().mean():.1%} on average, by {off.expm1().max():.0%} at most")
    return new


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a shipped name or a .safetensors file with a USRNet")
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=3000, help="of the fit (default: 3000)")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    checkpoint = checkpoints.load(arguments.model)
    new = logarithmic(checkpoint.model, arguments.steps)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    checkpoints.save(arguments.out, new, checkpoint.card)


if __name__ == "__main__":
    run(main)
