"""One capture for networks that differ by the values of their weights alone.

A captured graph holds the weights of its network. Here they are taken out by their names, so that the
graph can be filled with the weights of another network of the same architecture. Capturing that one
would give the same graph, unless the code looks at the values of its weights, or uses a tensor that is
no parameter and no buffer; then each network is captured by itself. The plan is made for each network,
since its rules hold weights in the layout that they need.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from kipoi_mcdropout.arrays.nested import Nested
from kipoi_mcdropout.dropout.locked_model import LockedModel
from kipoi_mcdropout.dropout.sites import Site, SitePlan
from kipoi_mcdropout.dropout.stored_weights import tensors_by_name
from kipoi_mcdropout.engine.incremental.capture import capture
from kipoi_mcdropout.engine.incremental.graph import Graph, map_leaves, walk
from kipoi_mcdropout.outputs.used import UsedOutputs


@dataclass(frozen=True)
class _Named:
    """In the place of a parameter or buffer of the module."""

    name: str


@dataclass(frozen=True)
class _Template:
    """A graph with names in the place of weights, and what else must be the same."""

    graph: Graph
    sites: tuple[Site, ...]
    used: UsedOutputs


class SharedCaptures:
    """The graphs of networks of one architecture, by the shapes of their inputs."""

    def __init__(self) -> None:
        self._templates: dict[Hashable, _Template] = {}

    def graph(self, key: Hashable, model: LockedModel, inputs: Nested, sites: SitePlan) -> Graph:
        """As `capture`, within `model.borrow()`.

        Parameters
        ----------
        key
            What is captured: the shapes of the inputs, and whether dropout is on.
        model, inputs, sites
            See `capture`.

        Raises
        ------
        CaptureError
            See `capture`.
        """
        template = self._templates.get(key)
        if template is not None:
            same = template.sites == sites.sites and template.used == model.used(inputs)
            if same and not sites.lifted:
                return _filled(template.graph, model.module)
        graph = capture(model, inputs, sites)
        if template is None and not sites.lifted:
            emptied = _emptied(graph, model.module)
            if emptied is not None:
                self._templates[key] = _Template(emptied, sites.sites, model.used(inputs))
        return graph


def _emptied(graph: Graph, module: nn.Module) -> Graph | None:
    """The graph with names of weights in their place; None where it depends on their values."""
    names = {id(x): name for name, x in reversed(tensors_by_name(module).items())}
    found = [x for node in graph.nodes for x in walk((node.args, node.kwargs))]
    others = [x for x in found if isinstance(x, Tensor) and id(x) not in names]
    if graph.reads_weights or others:  # others may have been made of weights, out of sight
        return None
    return _mapped(graph, lambda x: _Named(names[id(x)]) if id(x) in names else x)


def _filled(graph: Graph, module: nn.Module) -> Graph:
    """A graph of names with the weights of a module."""
    named = tensors_by_name(module)
    return _mapped(graph, lambda x: named[x.name] if isinstance(x, _Named) else x)


def _mapped(graph: Graph, function: Callable[[Any], Any]) -> Graph:
    """A copy with a function applied to all arguments."""
    nodes = [
        replace(
            node,
            args=map_leaves(function, node.args),
            kwargs=map_leaves(function, node.kwargs),
            users=list(node.users),
        )
        for node in graph.nodes
    ]
    return replace(graph, nodes=nodes)
