"""No module needs itself: the linter's layers allow a circle inside a layer, this does not."""

from __future__ import annotations

import graphlib

import grimp


def test_no_modules_import_each_other_by_any_route() -> None:
    """Imports inside functions and those for types alone are counted too."""
    graph = grimp.build_graph("edgevision", cache_dir=None)
    imported = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    del imported["edgevision"]  # the public names, which load nothing until they are used
    assert len(imported) > 200
    order = list(graphlib.TopologicalSorter(imported).static_order())  # raises CycleError with the circle
    assert order.index("edgevision.errors") < order.index("edgevision.cli")
