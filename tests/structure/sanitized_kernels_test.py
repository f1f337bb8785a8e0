"""The kernels that are sanitized (src/kernels/kernels.cmake) compile so: GCC takes fewer expressions for constant there.

Only the front end runs, on the objects that scripts/test would otherwise build with scripts/test --sanitizers alone.
"""

import json
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from source_tree import BUILD, finish, workers


def check(entry):
    words = shlex.split(entry["command"])
    words = words[Path(words[0]).name == "ccache":words.index("-o")]
    run = subprocess.run([*words, "-fsanitize=address,undefined", "-fsyntax-only", entry["file"]], cwd=BUILD,
                         capture_output=True, text=True)
    return None if run.returncode == 0 else f"{entry['file']}:\n{run.stderr[:4000]}"


commands = json.loads((BUILD / "compile_commands.json").read_text())
sanitized = ("/kernels/cpu/kernels_portable.cpp", "/kernels/cpu/kernels_amx_soft.cpp")
kernels = [entry for entry in commands if entry["file"].endswith(sanitized)]
with ThreadPoolExecutor(workers()) as pool:
    problems = [problem for problem in pool.map(check, kernels) if problem]
finish(problems, len(kernels))
