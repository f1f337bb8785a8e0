"""Nothing committed names a package index host, an absolute path of someone's machine, or unfinished business."""

import re

from source_tree import SOURCE, files, finish

# Written so that no pattern matches itself.
FORBIDDEN = [
    (r"\b(p[y]pi|p[y]thonhosted|np[m]js|deb\.deb[i]an|security\.deb[i]an|crat[e]s)\.(org|io|com)\b", "package index host"),
    (r"(?<![\w.])/(wor[k]|hom[e]/\w+|roo[t]|far[m])/[\w.]", "path of one machine"),
    (r"\b(TOD[O]|FIXM[E]|XX[X])\b", "unfinished business"),
]

problems = []
names = [name for name in files() if not name.startswith(("tests/fixtures/", "fuzz/corpus/"))]
for name in names:
    content = (SOURCE / name).read_bytes()
    if b"\0" in content:
        continue
    for number, line in enumerate(content.decode("utf-8", errors="replace").split("\n"), 1):
        for pattern, kind in FORBIDDEN:
            if re.search(pattern, line):
                problems.append(f"{name}:{number}: {kind}: {line.strip()[:120]}")
finish(problems, len(names))
