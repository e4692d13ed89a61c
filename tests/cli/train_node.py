"""The train-node preset needs no ITK and no DCMTK: it configures where neither can be found, and nothing that it compiles
has read a header of theirs (the compiler's own list of what it opened), nor does wsp-train load a library of theirs."""
import re

import build_tree
import support

INGEST_ONLY = re.compile(r"/(ITK-|itk[A-Z]|dcmtk/|gdcm)", re.IGNORECASE)

wanted = build_tree.sources_of_preset("train-node", "ITK", "DCMTK", "GDCM")
opened = build_tree.opened_for_sources()
support.check(len(wanted) > 40, f"only {len(wanted)} sources in the train-node preset")
missing = sorted(wanted - opened.keys())
support.check(not missing, f"not built here: {missing}")
read = {name: [path for path in opened[name] if INGEST_ONLY.search(path)] for name in wanted}
guilty = {name: paths[:3] for name, paths in read.items() if paths}
support.check(not guilty, f"sources of the train node that read ITK or DCMTK: {guilty}")
# The search finds what it looks for: the ingest half does read DCMTK.
ingest = [path for name, paths in opened.items() if "preprocess" in name or "medical" in name for path in paths]
support.check(any("dcmtk/" in path for path in ingest), "control: no source of the ingest half reads DCMTK")
# What wsp-train itself asks for; Debian's LibTorch brings GDCM through OpenCV.
loaded = build_tree.libraries_of(build_tree.BUILD / "tools" / "wsp-train")
support.check(any("libtorch" in name for name in loaded), f"wsp-train loads {loaded}")
support.check(not re.search(r"libitk|libdcm|libgdcm", " ".join(loaded).lower()), f"wsp-train loads {loaded}")
print(f"{len(wanted)} sources of the train node, none reads ITK or DCMTK")
