"""What the structure tests share: the files of the tree, their text without comments, and how a test ends."""

import os
import re
import subprocess
import sys
from pathlib import Path

SOURCE = Path(sys.argv[1]).resolve()
BUILD = Path(sys.argv[2]).resolve()
SKIPPED = 77  # SKIP_RETURN_CODE in tests/CMakeLists.txt


def files(*suffixes, under=""):
    """Paths relative to the source folder of all files git knows or would add (or, without git, of all files)."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "-co", "--exclude-standard"],
            cwd=SOURCE, capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        listed = [str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*") if path.is_file()]
        listed = [name for name in listed if not name.startswith((".git/", "build/"))]
    return [name for name in sorted(set(listed))
            if name.startswith(under) and name.endswith(suffixes or ("",)) and (SOURCE / name).is_file()]


def text(name):
    return (SOURCE / name).read_text(encoding="utf-8", errors="replace")


# A string literal (kept) or a comment (dropped, its line breaks kept); raw strings first, they contain anything.
_TOKEN = re.compile(r'R"(?P<tag>[^(\s]*)\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'|//[^\n]*|/\*.*?\*/',
                    re.DOTALL)


def without_comments(code):
    def keep(match):
        token = match.group(0)
        return "\n" * token.count("\n") if token.startswith("/") else token
    return _TOKEN.sub(keep, code)


def finish(problems, checked):
    """Prints what is wrong, or what was looked at, and ends the program."""
    if checked == 0:
        problems = [*problems, "nothing was checked: the test looks in the wrong place"]
    for problem in problems:
        print(problem)
    if not problems:
        print(f"ok, {checked} checked")
    sys.exit(1 if problems else 0)


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


def workers():
    return os.cpu_count() or 1
