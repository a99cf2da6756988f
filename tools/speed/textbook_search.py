"""Straightforward steps of differentiable searches: every loss computes the gradients of all tensors.

Float32, NCHW, eager; every edge runs every operation, even ``none``, and multiplies its output by its weight.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from genas.seeding import generator
from genas.supernet import CellNetwork
from speed.check import reference_of

Batch = tuple[Tensor, Tensor]

RHO, EPSILON = 0.01, 0.01
BETA, LAMBDA, LAMBDA_EPSILON = 24.5, 0.125, 1e-4
RADIUS = 0.03 + 0.27 * 49 / 50
"""The constants of the methods; those with a schedule have their values of the last of fifty epochs."""


class TextbookSearch:
    """One step after another of a search, each on the same two batches.

    Args:
        network: genas' network before the first step; its weights are copied.
        method: ``darts``, ``a2m`` (central differences), ``a2m-exact``, ``beta``, ``lambda``, ``sdarts`` or ``pc``.
        alphas: Parameters of the operations by cell type, then with ``pc`` those of the edges.
        search: Images and classes of the architecture's loss.
        training: Images and classes of the weights' loss.
    """

    def __init__(
        self, network: CellNetwork, method: str, alphas: Sequence[Tensor], search: Batch, training: Batch
    ) -> None:
        self.method, self.search, self.training = method, search, training
        self.types, self.fan_ins = network.cell_types, [_fan_ins(cell.edges) for cell in network.space.cell_types]
        self.supernet = reference_of(network).to(alphas[0].dtype).train()
        self.alphas = [alpha.detach().clone().requires_grad_() for alpha in alphas]
        self.architecture = torch.optim.Adam(self.alphas, lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
        self.optimizer = torch.optim.SGD(self.supernet.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4)

    def step(self) -> None:
        """Move the architecture, then the weights."""
        for alpha, gradient in zip(self.alphas, self.architecture_gradient(), strict=True):
            alpha.grad = gradient
        self.architecture.step()
        self.weight_gradient()
        nn.utils.clip_grad_norm_(self.supernet.parameters(), 5.0)
        self.optimizer.step()

    def architecture_gradient(self) -> list[Tensor]:
        """Return the gradient for Adam."""
        if self.method not in ("a2m", "a2m-exact"):
            return self._gradient_at(self.alphas)
        above = self._gradient_at(_moved(self.alphas, RHO, self._gradient_at(self.alphas)))
        if self.method == "a2m-exact":
            return _moved(above, RHO, self._curvature(above))
        plus, minus = (self._gradient_at(_moved(self.alphas, side * EPSILON, above)) for side in (1, -1))
        return [g + RHO * (p - m) / (2 * EPSILON) for g, p, m in zip(above, plus, minus, strict=True)]

    def _gradient_at(self, alphas: Sequence[Tensor]) -> list[Tensor]:
        points = [alpha.detach().clone().requires_grad_() for alpha in alphas]
        loss = self._loss(self.search, self._spread(*self._softmaxes(points)))
        if self.method == "beta":
            loss = loss + BETA * sum(point.logsumexp(dim=1).mean() for point in points)
        loss.backward()
        return [copy.deepcopy(point.grad) for point in points]

    def _curvature(self, direction: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the product of Hessian and direction by differentiating twice."""
        points = [alpha.detach().clone().requires_grad_() for alpha in self.alphas]
        loss = self._loss(self.search, self._spread(*self._softmaxes(points)))
        slopes = torch.autograd.grad(loss, points, create_graph=True)
        return torch.autograd.grad(sum((a * b).sum() for a, b in zip(slopes, direction, strict=True)), points)

    def weight_gradient(self) -> None:
        """Store the gradient for SGD, before clipping, in ``grad`` of the weights."""
        self.optimizer.zero_grad()
        rows, edges = self._softmaxes([alpha.detach() for alpha in self.alphas])
        if self.method == "sdarts":
            rng = generator(0, "random smoothing", 0)
            rows = [_perturbed(row, torch.from_numpy(rng.uniform(-1, 1, row.shape)).to(row)) for row in rows]
        if self.method == "lambda":
            self._lambda_gradient([row.clone().requires_grad_() for row, _ in self._spread(rows, edges)])
        else:
            self._loss(self.training, self._spread(rows, edges)).backward()

    def _lambda_gradient(self, rows: list[Tensor]) -> None:
        self._loss(self.training, [(row, None) for row in rows]).backward()
        normal = [position for position, kind in enumerate(self.types) if kind == 0]
        gradients = [rows[position].grad.flatten().requires_grad_() for position in normal]
        cosines = [functional.cosine_similarity(a, b, dim=0) for a, b in itertools.combinations(gradients, 2)]
        directions = torch.autograd.grad(torch.stack(cosines).mean(), gradients)
        radius = LAMBDA_EPSILON / torch.cat(directions).norm()
        saved = [copy.deepcopy(parameter.grad) for parameter in self.supernet.parameters()]
        sides = []
        for sign in (-1, 1):
            moved = [row.detach() for row in rows]
            for position, direction in zip(normal, directions, strict=True):
                moved[position] = moved[position] + sign * radius * direction.view_as(rows[position])
            self.optimizer.zero_grad()
            self._loss(self.training, [(row, None) for row in moved]).backward()
            sides.append([copy.deepcopy(parameter.grad) for parameter in self.supernet.parameters()])
        for parameter, plain, forward, backward in zip(self.supernet.parameters(), saved, *sides, strict=True):
            if plain is not None:
                parameter.grad = plain + LAMBDA * (forward - backward) / (2 * radius)

    def _loss(self, batch: Batch, weights: Sequence[tuple[Tensor, Tensor | None]]) -> Tensor:
        images, labels = batch
        return functional.cross_entropy(self.supernet.mix(images, weights), labels)

    def _softmaxes(self, alphas: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor] | None]:
        """Return the weights of operations, and of edges if there are any, by cell type."""
        count = len(self.fan_ins)
        rows = [alpha.softmax(dim=1) for alpha in alphas[:count]]
        if len(alphas) == count:
            return rows, None
        logits = zip(alphas[count:], self.fan_ins, strict=True)
        return rows, [torch.cat([part.softmax(dim=0) for part in each.split(fan)]) for each, fan in logits]

    def _spread(self, rows: list[Tensor], edges: list[Tensor] | None) -> list[tuple[Tensor, Tensor | None]]:
        return [(rows[kind], None if edges is None else edges[kind]) for kind in self.types]


def _fan_ins(edges: Sequence[tuple[int, int]]) -> list[int]:
    targets = [target for _, target in edges]
    return [targets.count(target) for target in sorted(set(targets))]


def _moved(alphas: Sequence[Tensor], length: float, direction: Sequence[Tensor]) -> list[Tensor]:
    return [alpha.detach() + length * along for alpha, along in zip(alphas, direction, strict=True)]


def _perturbed(rows: Tensor, noise: Tensor) -> Tensor:
    """Return SDARTS' weights: noise, then clamped and divided by their sum."""
    clamped = (rows + RADIUS * noise).clamp(0, 1)
    return clamped / clamped.sum(dim=1, keepdim=True)
