"""Equations with domain, conditions, reference and a training whose error is stated."""

from collections.abc import Callable
from functools import partial

from pyneural.pde.gallery.allen_cahn import AllenCahn
from pyneural.pde.gallery.beam import EulerBeam
from pyneural.pde.gallery.burgers import Burgers
from pyneural.pde.gallery.cavity import Cavity
from pyneural.pde.gallery.cylinder import Cylinder
from pyneural.pde.gallery.heat import Heat
from pyneural.pde.gallery.helmholtz import Helmholtz
from pyneural.pde.gallery.kdv import KdV
from pyneural.pde.gallery.kovasznay import Kovasznay
from pyneural.pde.gallery.kuramoto_sivashinsky import (
    ChaoticKuramotoSivashinsky,
    KuramotoSivashinsky,
)
from pyneural.pde.gallery.lorenz import Lorenz
from pyneural.pde.gallery.lotka_volterra import LotkaVolterra
from pyneural.pde.gallery.poisson import Poisson
from pyneural.pde.gallery.problem import Problem, Recipe
from pyneural.pde.gallery.reaction_diffusion import ReactionDiffusion
from pyneural.pde.gallery.schroedinger import Schroedinger
from pyneural.pde.gallery.solitons import Solitons
from pyneural.pde.gallery.taylor_green import TaylorGreen
from pyneural.pde.gallery.wave import Wave

GALLERY: dict[str, Callable[[], Problem]] = {
    "allen-cahn": AllenCahn,
    "burgers": Burgers,
    "cavity": Cavity,
    "cavity-400": partial(Cavity, 400),
    "cavity-1000": partial(Cavity, 1000),
    "cavity-3200": partial(Cavity, 3200),
    "cylinder": Cylinder,
    "euler-beam": EulerBeam,
    "heat": Heat,
    "heat-2d": partial(Heat, 0.1, 2),
    "heat-5d": partial(Heat, 0.02, 5),
    "heat-10d": partial(Heat, 0.01, 10),
    "helmholtz": Helmholtz,
    "kdv": KdV,
    "kdv-raissi": partial(KdV, 0.0025),
    "kovasznay": Kovasznay,
    "kuramoto-sivashinsky": KuramotoSivashinsky,
    "ks-chaotic": ChaoticKuramotoSivashinsky,
    "lorenz": Lorenz,
    "lotka-volterra": LotkaVolterra,
    "poisson": Poisson,
    "poisson-1d": partial(Poisson, 1),
    "poisson-5d": partial(Poisson, 5),
    "poisson-10d": partial(Poisson, 10),
    "reaction-diffusion": ReactionDiffusion,
    "schroedinger": Schroedinger,
    "solitons": Solitons,
    "taylor-green": TaylorGreen,
    "wave": Wave,
}

__all__ = [
    "GALLERY", "AllenCahn", "Burgers", "Cavity", "ChaoticKuramotoSivashinsky", "Cylinder",
    "EulerBeam", "Heat", "Helmholtz", "KdV", "Kovasznay", "KuramotoSivashinsky", "Lorenz",
    "LotkaVolterra", "Poisson", "Problem", "ReactionDiffusion", "Recipe", "Schroedinger",
    "Solitons", "TaylorGreen", "Wave",
]  # fmt: skip
