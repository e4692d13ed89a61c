"""The ingest-node preset (WSP_WITH_SEGMENTER=OFF) needs no Torch: it configures where none can be found, nothing that it compiles
has read a header of Torch's (the compiler's own list of what it opened), and its wsp-ingest loads no library of it."""
import re

import build_tree
import support

TORCH = re.compile(r"/(torch|ATen|c10)/", re.IGNORECASE)

wanted = build_tree.sources_of_preset("ingest-node", "Torch")
opened = build_tree.opened_for_sources()
support.check(len(wanted) > 40, f"only {len(wanted)} sources in the ingest-node preset")
missing = sorted(wanted - opened.keys())
support.check(not missing, f"not built here: {missing}")
guilty = sorted(name for name in wanted if any(TORCH.search(path) for path in opened[name]))
support.check(not guilty, f"sources of the ingest node that read Torch: {guilty}")
# The search finds what it looks for, where this build has it.
with_torch = [name for name, paths in opened.items() if "torch_network" in name and any(TORCH.search(p) for p in paths)]
support.check(with_torch or not (build_tree.BUILD / "tools" / "wsp-ingest-torch").exists(), "control: no source reads Torch")
for tool in ("wsp-ingest", "wsp-phantom"):
    loaded = build_tree.libraries_of(build_tree.BUILD / "tools" / tool)
    support.check(loaded and not re.search(r"torch|c10", " ".join(loaded)), f"{tool} loads {loaded}")
print(f"{len(wanted)} sources of the ingest node, none reads Torch")
