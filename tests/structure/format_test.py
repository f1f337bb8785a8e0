"""All C++ is formatted by clang-format 14, the one whose output .clang-format was chosen for."""

import re
import shutil
import subprocess

from source_tree import SOURCE, finish, skip

if not shutil.which("clang-format"):
    skip("no clang-format (scripts/setup --develop installs it)")
version = subprocess.run(["clang-format", "--version"], capture_output=True, text=True, check=True).stdout
if not re.search(r"version 14\.", version):
    skip(f"needs clang-format 14, found {version.strip()}")
run = subprocess.run(["scripts/format", "--check"], cwd=SOURCE, capture_output=True, text=True)
places = re.findall(r"^(\S+?):(\d+):\d+: error:", run.stderr, re.MULTILINE)
problems = [f"{name}:{line}: not formatted (run scripts/format)" for name, line in dict.fromkeys(places)]
if run.returncode != 0 and not problems:
    problems = [run.stderr]
finish(problems, 1)
