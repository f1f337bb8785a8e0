"""Include ranks: a file of src/ includes its own folder or a folder of lower rank, never a sibling or a higher one."""

import re

from source_tree import SOURCE, files, finish, text

RANKS = [["base"], ["tensor"], ["formats", "kernels"], ["backend", "text"], ["model"], ["engine"], ["serve"], ["cli"]]
RANK = {folder: rank for rank, folders in enumerate(RANKS) for folder in folders}
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


def problem(own, target, included):
    """Why a file of folder `own` may not include `included`, whose folder is `target`; None where it may."""
    if target not in RANK:
        return f'includes "{included}", which is in no folder of src/ (write the path from src/)'
    if target != own and RANK[target] >= RANK[own]:
        return f'includes "{included}": {own} has rank {RANK[own]}, {target} has rank {RANK[target]}'
    return None


assert problem("model", "base", "base/error.h") is None
assert problem("model", "model", "model/spec.h") is None
assert problem("formats", "kernels", "kernels/table.h") is not None
assert problem("base", "cli", "cli/main.h") is not None

problems = []
sources = files(".h", ".cpp", ".inc", under="src/")
for name in sources:
    own = name.split("/")[1]
    if own not in RANK:
        problems.append(f"{name}: folder src/{own} has no rank (add it to tests/structure/includes_test.py)")
        continue
    for included in INCLUDE.findall(text(name)):
        if (SOURCE / "src" / own / f"{included}.in").exists():
            continue  # made by CMake
        found = problem(own, included.split("/")[0], included)
        if found:
            problems.append(f"{name}: {found}")
finish(problems, len(sources))
