"""PINNs whose weights are balanced, and their losses and kernels in plain torch."""

import torch

from pyneural import models, nn, pde

BOX = pde.Box(t=(0, 1), x=(-1, 1))


class Waves(pde.Equation):
    inputs, outputs, domain = "tx", "uv", BOX

    def residual(self, u, v, x):
        return u.t - v.x + 0.5 * u.xx, v.t + u * u.x * x, 7 * u.x - v


class Diffusion(pde.Equation):
    inputs, outputs, domain = "tx", "u", BOX

    def residual(self, u):
        return u.t - 0.3 * u.xx + u**3


def make(equation=Diffusion, *, wrap=lambda network: network, seed=0, **options):
    torch.manual_seed(seed)
    equation = equation()
    outputs = len(equation.outputs)
    network = nn.MLP(2, [7, 5], outputs, input_range=BOX.range).double()
    drawing = {"generator": torch.Generator().manual_seed(seed + 1), "dtype": torch.float64}
    conditions = {
        "initial": pde.Initial(BOX, lambda x: x**2, 9, output=0, **drawing),
        "ring": pde.Periodic(BOX, "x", 6, output=0, **drawing),
        "flux": pde.Neumann(BOX, 0.3, 8, output=0, **drawing),
    }
    generator = torch.Generator().manual_seed(seed + 2)
    options = {"points": 11, "generator": generator} | options
    return models.PINN(wrap(network), conditions, equation=equation, **options)


class Plain:
    """The residuals of a PINN of ``make`` by nested autograd, from copies of its weights."""

    def __init__(self, pinn, state=None):
        state = pinn.network.state_dict() if state is None else state
        layers = [state[f"layers.{i}.{kind}"] for i in range(3) for kind in ("weight", "bias")]
        self.parameters = [layer.detach().clone().requires_grad_() for layer in layers]
        self.low, self.high = (torch.as_tensor(bound).double() for bound in BOX.range)
        self.pinn = pinn

    def u(self, x):
        a = (2 * x - self.high - self.low) / (self.high - self.low)
        for i in (0, 2, 4):
            a = a @ self.parameters[i].T + self.parameters[i + 1]
            a = torch.tanh(a) if i < 4 else a
        return a

    def derivatives(self, x):
        """u, u_t, u_x, u_xx [N] of each output."""
        x = x.detach().clone().requires_grad_()
        found = []
        for value in self.u(x).unbind(1):
            first = torch.autograd.grad(value.sum(), x, create_graph=True)[0]
            second = torch.autograd.grad(first[:, 1].sum(), x, create_graph=True)[0]
            found.append((value, first[:, 0], first[:, 1], second[:, 1]))
        return found

    def residuals(self, points=None):
        """By term, each part the columns that its loss adds up."""
        conditions = dict(self.pinn.named_conditions())
        at = {name: c.points for name, c in conditions.items()}
        (value, *_), *_ = self.derivatives(at["initial"])
        high = at["ring"].clone()
        high[:, 1] = 1.0
        (v1, _, s1, _), *_ = self.derivatives(high)
        (v0, _, s0, _), *_ = self.derivatives(at["ring"])
        (_, _, slope, _), *_ = self.derivatives(at["flux"])
        terms = {
            "initial": [[value - at["initial"][:, 1] ** 2]],
            "ring": [[v1 - v0, s1 - s0]],
            "flux": [[slope * at["flux"][:, 1].sign() - 0.3]],
        }
        x = self.pinn.collocation if points is None else points
        d = self.derivatives(x)
        if len(d) == 1:
            u, u_t, _, u_xx = d[0]
            return terms | {"residual": [[u_t - 0.3 * u_xx + u**3]]}
        (u, u_t, u_x, u_xx), (v, v_t, v_x, _) = d
        system = u_t - v_x + 0.5 * u_xx, v_t + u * u_x * x[:, 1], 7 * u_x - v
        return terms | {"residual": [[r] for r in system]}

    def losses(self):
        return {
            name: [sum(column.square().mean() for column in part) for part in parts]
            for name, parts in self.residuals().items()
        }

    def gradients(self):
        def of(loss):
            found = torch.autograd.grad(
                loss, self.parameters, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            return torch.cat([g.flatten() for g in found])

        return {name: [of(part) for part in parts] for name, parts in self.losses().items()}

    def kernel_traces(self):
        """Trace of the kernel over the number of points, a row of the Jacobian at a time."""

        def of(column):
            rows = []
            for r in column:
                found = torch.autograd.grad(
                    r, self.parameters, retain_graph=True, allow_unused=True, materialize_grads=True
                )
                rows.append(torch.cat([g.flatten() for g in found]))
            jacobian = torch.stack(rows)
            return float((jacobian @ jacobian.T).trace()) / len(column)

        return {
            name: [sum(of(column) for column in part) for part in parts]
            for name, parts in self.residuals().items()
        }
