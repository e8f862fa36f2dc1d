"""Small least-squares problems whose steps can be computed by hand."""

import torch

from pyneural.training import LevenbergMarquardt, Trainable
from pyneural.training.solvers.base import Task


class Exponentials(Trainable):
    """r_i = exp(m_i . w) - y_i, of two tensors w; also with fewer residuals than parameters."""

    def __init__(self, residuals, parameters, seed=0, dtype=torch.float64):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        draw = {"generator": generator, "dtype": torch.float64}
        self.m = (torch.randn(residuals, parameters, **draw) / 2).to(dtype)  # [R, T]
        self.y = (torch.rand(residuals, **draw) + 0.5).to(dtype)
        w = (torch.randn(parameters, **draw) / 3).to(dtype)
        self.a = torch.nn.Parameter(w[:1].clone())
        self.b = torch.nn.Parameter(w[1:].clone())

    def w(self):
        return torch.cat([self.a, self.b])

    def residual(self):
        return torch.exp(self.m @ self.w()) - self.y

    def least_squares(self, batch=None):
        return {"exponentials": self.residual}

    def losses(self, batch=None):
        return {"exponentials": self.residual().square().sum()}

    def jacobian(self):
        return (torch.exp(self.m @ self.w())[:, None] * self.m).detach()

    def steps(self, damping, momentum=0.0):
        """v, a, j and q, by the inverse of the matrix and Faa di Bruno's formula."""
        jacobian, residual = self.jacobian(), self.residual().detach()
        identity = torch.eye(jacobian.shape[1], dtype=jacobian.dtype)
        inverse = torch.linalg.inv(jacobian.T @ jacobian + damping * identity)
        value = torch.exp(self.m @ self.w()).detach()
        v = -inverse @ (jacobian.T @ residual - damping * momentum)
        x1 = self.m @ v
        a = -inverse @ jacobian.T @ (value * x1**2)
        x2 = self.m @ a
        j = -inverse @ jacobian.T @ (value * (x1**3 + 3 * x1 * x2))
        x3 = self.m @ j
        c4 = value * (x1**4 + 6 * x1**2 * x2 + 3 * x2**2 + 4 * x1 * x3)
        return v, a, j, -inverse @ jacobian.T @ c4


class Linear(Trainable):
    """r = M w - y."""

    def __init__(self, m, y):
        super().__init__()
        self.m, self.y = m, y
        self.w = torch.nn.Parameter(torch.zeros(m.shape[1], dtype=m.dtype))

    def residual(self):
        return self.m @ self.w - self.y

    def least_squares(self, batch=None):
        return {"line": self.residual}

    def losses(self, batch=None):
        return {"line": self.residual().square().sum()}


class Scalar(Trainable):
    """One residual f(w) of one number."""

    def __init__(self, function, start):
        super().__init__()
        self.function = function
        self.w = torch.nn.Parameter(torch.tensor([start], dtype=torch.float64))

    def least_squares(self, batch=None):
        return {"f": lambda: self.function(self.w)}


class Misra1a(Trainable):
    """NIST's problem Misra1a: y = b1 (1 - exp(-b2 x)), from its first starting point."""

    best = (2.3894212918e2, 5.5015643181e-4, 1.2455138894e-1)  # b1, b2, sum of squares

    def __init__(self):
        super().__init__()
        self.x = torch.tensor(
            [77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1,
             689.1, 760.0], dtype=torch.float64)  # fmt: skip
        self.y = torch.tensor(
            [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40,
             75.47, 81.78], dtype=torch.float64)  # fmt: skip
        self.b = torch.nn.Parameter(torch.tensor([500.0, 0.0001], dtype=torch.float64))

    def least_squares(self, batch=None):
        return {"data": lambda: self.b[0] * (1 - torch.exp(-self.b[1] * self.x)) - self.y}


def begin(model, **options):
    """A solver."""
    return LevenbergMarquardt(1000, **options).begin(Task(model))


def flat(model):
    """All parameters, [T]."""
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()]).clone()


def run(model, steps=100, **options):
    """The solver after some steps, or where it stopped."""
    solver = begin(model, **options)
    for _ in range(steps):
        solver.values = solver.step(None)
        if solver.reason is not None:
            break
    return solver


class Weighted(Trainable):
    """Two terms, one of which has a weight, and one that is only measured."""

    def __init__(self, weight):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.term_weights = {"low": weight, "seen": 0.0}

    def least_squares(self, batch=None):
        return {"low": lambda: self.w + 1, "high": lambda: 2 * (self.w - 1)}

    def losses(self, batch=None):
        found = {name: r().square().sum() for name, r in self.least_squares().items()}
        return {"low": found["low"], "seen": self.w.sum().detach() + 7, "high": found["high"]}
