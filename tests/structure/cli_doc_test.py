"""docs/CLI.md has the commands and flags that --help has. Where it does not: scripts/cli-doc > docs/CLI.md"""

import re
import subprocess

from source_tree import BUILD, SOURCE, finish, skip, text


def flags_by_command(document):
    """The flags named in each section of a document as scripts/cli-doc prints it."""
    sections = re.split(r"^## (\w+)$", document, flags=re.MULTILINE)
    named = {"ostro": sections[0], **dict(zip(sections[1::2], sections[2::2]))}
    return {name: set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", section)) for name, section in named.items()}


program = BUILD / "ostro"
if not program.exists():
    skip("no program in this build")
printed = subprocess.run(["scripts/cli-doc", str(program)], cwd=SOURCE, capture_output=True, text=True, check=True)
helped, written = flags_by_command(printed.stdout), flags_by_command(text("docs/CLI.md"))

problems = []
for command in sorted(helped.keys() | written.keys()):
    if command not in helped or command not in written:
        problems.append(f"docs/CLI.md: `{command}` is not in {'--help' if command in written else 'the document'}")
        continue
    missing, gone = helped[command] - written[command], written[command] - helped[command]
    if missing or gone:
        problems.append(f"docs/CLI.md, {command}: lacks {sorted(missing)}, has {sorted(gone)} which --help has not")
finish(problems, len(helped))
