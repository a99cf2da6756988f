"""``genas inspect``: everything about an architecture that needs no network."""

from __future__ import annotations

from dataclasses import asdict
from json import dumps
from typing import Any, Literal

from genas import spaces
from genas.spaces import Architecture, SearchSpace, Skeleton


def inspect(
    architecture: str,
    space: str = "nasbench201",
    num_classes: int = 10,
    image_size: int = 32,
    image_channels: int = 3,
    channels: int | None = None,
    cells: int | None = None,
    network: Literal["standalone", "supernet"] = "standalone",
    json: bool = False,
) -> None:
    """Print an architecture's notations, cost, equivalence keys and live edges.

    Args:
        architecture: In any notation of the space. NAS-Bench-201: its string, an index, or six genes. DARTS:
            a genotype, 28 genes, or a published name like DARTS_V2.
        space: Name of the search space: nasbench201, darts, darts7, s1, s2, s3, s4.
        num_classes: Classes that the network tells apart.
        image_size: Height and width of the images in pixels. From 128 on, DARTS' stand-alone network is the ImageNet
            one.
        image_channels: Channels of the images.
        channels: Channels of the first cells; by default the published number.
        cells: Cells per stage of NAS-Bench-201, cells in all of DARTS; by default the published number.
        network: Cost of the network to be trained from scratch, or of the subnet in the supernet.
        json: Print JSON instead of text.
    """
    where = spaces.space(space)
    build = where.standalone_skeleton if network == "standalone" else where.supernet_skeleton
    options = {} if channels is None else {"channels": channels}
    skeleton = build(num_classes, image_size, image_channels, cells=cells, **options)
    facts = describe(where, where.parse(architecture), skeleton)
    print(dumps(facts, indent=2, default=str) if json else _text(facts))


def describe(space: SearchSpace, architecture: Architecture, skeleton: Skeleton) -> dict[str, Any]:
    """Return the facts that ``genas inspect`` prints.

    ``macs`` counts dead edges as the benchmark does, ``live_macs`` does not. ``index`` is present if the space has one.
    """
    cost = spaces.cost(space, skeleton, architecture)
    index = space.index(architecture)
    return {
        "space": space.name,
        **({} if index is None else {"index": index}),
        "string": space.format(architecture),
        "genes": list(architecture),
        "params": cost.params,
        "macs": cost.macs,
        "live_macs": spaces.cost(space, skeleton, architecture, live_only=True).macs,
        "skeleton": asdict(skeleton),
        "unique_key": space.unique_key(architecture),
        "supernet_key": space.supernet_key(architecture),
        "angle_key": space.angle_key(architecture),
        "live_edges": _live_edges(space, architecture),
    }


def _live_edges(space: SearchSpace, architecture: Architecture) -> list[dict[str, str | int]]:
    """Return cell, source, target and operation of every edge that is run."""
    edges: list[dict[str, str | int]] = []
    for cell, genes in zip(space.cell_types, space.split(architecture), strict=True):
        for position in cell.live_edges(genes):
            source, target = cell.edges[position]
            edges.append(
                {
                    "cell": cell.name,
                    "source": source,
                    "target": target,
                    "operation": space.operations[genes[position]],
                }
            )
    return edges


def _text(facts: dict[str, Any]) -> str:
    """Return the facts as one line each, the live edges one below the other."""
    shown = dict(facts)
    shown["genes"] = ",".join(map(str, facts["genes"]))
    shown["skeleton"] = ", ".join(f"{name}={value}" for name, value in facts["skeleton"].items())
    for name in ("params", "macs", "live_macs"):
        shown[name] = f"{facts[name]:,}"
    edges = [f"{edge['cell']} {edge['source']} -> {edge['target']} {edge['operation']}" for edge in facts["live_edges"]]
    shown["live_edges"] = ("\n" + " " * 14).join(edges) or "none: input and output are not connected"
    return "\n".join(f"{name:<12}  {value}" for name, value in shown.items())
