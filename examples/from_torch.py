"""A script written for torch, on pyneural: only the imports of `nn` and `optim` change.

A network learns the noisy readings of a damped oscillator, x'' + 2 g x' + w^2 x = 0. The same loop
runs with both packages, the weights move from one to the other, and the derivatives of pyneural's
network then tell the damping g and the frequency w. Run it with: python examples/from_torch.py
"""

import torch

import pyneural

DAMPING, FREQUENCY, NOISE = 0.15, 2.0, 0.02
TIMES = torch.linspace(0, 8, 201)[:, None]


def readings(seed=0):
    """Positions at all times, [201, 1], with Gaussian noise."""
    noise = NOISE * torch.randn(TIMES.shape, generator=torch.Generator().manual_seed(seed))
    damped = (FREQUENCY**2 - DAMPING**2) ** 0.5
    return (-DAMPING * TIMES).exp() * (damped * TIMES).cos() + noise


def train(nn, optim, steps):
    """The script as it was for torch: `nn` and `optim` are those of torch or of pyneural."""
    torch.manual_seed(0)
    hidden = nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh()
    net = nn.Sequential(*hidden, nn.Linear(48, 1))
    optimizer = optim.Adam(net.parameters(), lr=1e-2)
    slower = optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    x = readings()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(TIMES), x)
        loss.backward()
        optimizer.step()
        slower.step()
    return net, loss.item()


def main(steps=1500):
    """Trains with both; gives damping and frequency."""
    theirs, loss = train(torch.nn, torch.optim, steps)
    print(f"torch         loss {loss:.2e}, noise {NOISE**2:.2e}")
    ours, loss = train(pyneural.nn, pyneural.optim, steps)
    print(f"pyneural      loss {loss:.2e}")
    ours.load_state_dict(theirs.state_dict())
    difference = (ours(TIMES) - theirs(TIMES)).abs().max()
    print(f"the weights of torch in pyneural: outputs differ by {difference:.0e}")

    inner = TIMES[10:-10]  # the ends of a fit bend as they like
    x, x_t, x_tt = (part.detach() for part in pyneural.nn.jet(ours, inner, [(0,), (0, 0)]))
    (twice, squared), _ = torch.linalg.lstsq(torch.cat([x_t, x], 1), -x_tt)[:2]
    damping, frequency = twice.item() / 2, squared.item() ** 0.5
    print(f"damping {damping:.3f}, true {DAMPING}; frequency {frequency:.3f}, true {FREQUENCY}")
    return damping, frequency


if __name__ == "__main__":
    main()
