"""Each kernel object defines exactly one external symbol, its table, and no weak ones. A weak symbol (an inline function
or a template) compiled for AVX-512 could replace its portable twin at link time and crash older machines."""

import re
import subprocess

from source_tree import BUILD, files, finish, skip

cache = BUILD / "CMakeCache.txt"
if re.search(r"^OSTRO_SANITIZE:\w+=.+$", cache.read_text(), re.MULTILINE):
    skip("sanitizers add symbols of their own")
sources = files(".cpp", under="src/kernels/cpu/kernels_")
if not files(".cpp", under="src/kernels/cpu/"):
    skip("src/kernels/cpu has no sources yet")

problems = []
for source in sources:
    objects = list((BUILD / "CMakeFiles").glob(f"*/{source}.o"))
    if not objects:
        problems.append(f"{source}: no object in {BUILD}/CMakeFiles")
    for path in objects:
        run = subprocess.run(["nm", "--defined-only", "--extern-only", "--demangle", str(path)],
                             capture_output=True, text=True, check=True)
        symbols = [line.split(maxsplit=2)[1:] for line in run.stdout.splitlines() if line.strip()]
        if len(symbols) != 1 or symbols[0][0] in "vVwWu":
            listed = "".join(f"\n  {kind} {name}" for kind, name in symbols[:10])
            problems.append(f"{source}: {len(symbols)} external symbols, expected one strong one{listed}")
finish(problems, len(sources))
