"""Each kernel object defines exactly one external symbol, its table, and no weak ones. A weak symbol (an inline function
or a template) compiled for AVX-512 could replace its portable twin at link time and crash older machines."""

import re
import subprocess

from source_tree import BUILD, SOURCE, files, finish, skip

cache = BUILD / "CMakeCache.txt"
if re.search(r"^OSTRO_SANITIZE:\w+=.+$", cache.read_text(), re.MULTILINE):
    skip("sanitizers add symbols of their own")
if not files(".cpp", under="src/kernels/cpu/"):
    skip("src/kernels/cpu has no sources yet")

objects = [path for path in sorted(BUILD.rglob("*kernels_*.o")) + sorted(BUILD.glob("**/*kernels_*.dir/**/*.o"))
           if "/tests/" not in str(path.relative_to(BUILD))]
objects = sorted(set(objects))
problems = []
for path in objects:
    run = subprocess.run(["nm", "--defined-only", "--extern-only", "--demangle", str(path)],
                         capture_output=True, text=True, check=True)
    symbols = [line.split(maxsplit=2)[1:] for line in run.stdout.splitlines() if line.strip()]
    listed = "".join(f"\n  {kind} {name}" for kind, name in symbols[:10])
    if len(symbols) != 1 or symbols[0][0] in "vVwWu":
        problems.append(f"{path.relative_to(BUILD)}: {len(symbols)} external symbols, expected one strong one{listed}")
finish(problems, len(objects))
