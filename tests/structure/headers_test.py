"""Every header compiles alone, and twice, with the flags of a source of its folder."""

import json
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from source_tree import BUILD, SOURCE, files, finish, workers


def flag_sets():
    """Compile flags by folder (relative to the source folder): every distinct set, in order of appearance."""
    found = {}
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        source = Path(entry["file"])
        if not source.is_relative_to(SOURCE):
            continue
        words = shlex.split(entry["command"])
        while words and Path(words[0]).name == "ccache":
            words.pop(0)
        kept, skip_next = [], False
        for word in words:
            if skip_next or word in ("-c", str(source)):
                skip_next = False
            elif word == "-o":
                skip_next = True
            else:
                kept.append(word)
        sets = found.setdefault(str(source.relative_to(SOURCE).parent), [])
        if kept not in sets:
            sets.append(kept)
    return found


FLAGS = flag_sets()
ANY = next(iter(FLAGS.get("src/base", []) or next(iter(FLAGS.values()))))


def compile_alone(name):
    folder = str(Path(name).parent)
    include = f'#include "{SOURCE / name}"\n'
    errors = ""
    # A folder with several sets (kernels: one per instruction set) may hold headers for one of them only.
    for flags in FLAGS.get(folder, [ANY]):
        run = subprocess.run([*flags, "-fsyntax-only", "-x", "c++", "-"], input=include * 2, cwd=BUILD,
                             capture_output=True, text=True)
        if run.returncode == 0:
            return None
        errors = errors or run.stderr
    return f"{name} does not compile alone:\n{errors}"


headers = files(".h", under="src/") + files(".h", under="tests/")
with ThreadPoolExecutor(workers()) as pool:
    problems = [problem for problem in pool.map(compile_alone, headers) if problem]
finish(problems, len(headers))
