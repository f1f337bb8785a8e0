"""docs/CLI.md says what --help says, word for word. Where it does not: scripts/cli-doc > docs/CLI.md"""

import re
import subprocess

from source_tree import BUILD, SOURCE, finish, skip, text


def words_by_command(document):
    """The words of each section of a document as scripts/cli-doc prints it; how lines break is CLI11's affair."""
    sections = re.split(r"^## (\w+)$", document, flags=re.MULTILINE)
    named = {"ostro": sections[0], **dict(zip(sections[1::2], sections[2::2]))}
    return {name: section.split() for name, section in named.items()}


program = BUILD / "ostro"
if not program.exists():
    skip("no program in this build")
printed = subprocess.run(["scripts/cli-doc", str(program)], cwd=SOURCE, capture_output=True, text=True, check=True)
helped, written = words_by_command(printed.stdout), words_by_command(text("docs/CLI.md"))

problems = []
for command in sorted(helped.keys() | written.keys()):
    if command not in helped or command not in written:
        problems.append(f"docs/CLI.md: `{command}` is not in {'--help' if command in written else 'the document'}")
        continue
    pairs = zip(helped[command] + ["(end)"], written[command] + ["(end)"])
    parted = next((i for i, (ours, theirs) in enumerate(pairs) if ours != theirs), None)
    if parted is not None:
        start = max(0, parted - 4)
        problems.append(f"docs/CLI.md, {command}: --help has `{' '.join(helped[command][start:parted + 3])}`, "
                        f"the document `{' '.join(written[command][start:parted + 3])}`")
finish(problems, len(helped))
