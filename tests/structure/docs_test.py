"""Documents name only what exists: links, paths of this tree, commands of `ostro`, and, in docs/ARCHITECTURE.md, names of
types and functions."""

import re
from pathlib import PurePosixPath

from source_tree import SOURCE, files, finish, text

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
TREE_PATH = re.compile(r"(?:\.ci|cmake|docs|fuzz|scripts|src|tests)/[\w./*<>-]*")
COMMAND = re.compile(r"(?:^|\s)(?:build/release/)?ostro ([a-z]+)")


def exists(path):
    """A file, a folder, or a pattern with * or <name> that at least one file matches."""
    pattern = re.sub(r"<\w+>", "*", path.rstrip("/.:"))
    return any(True for _ in SOURCE.glob(pattern))


IDENTIFIER = re.compile(r"(?:\w+::)*([A-Za-z_]\w*)")
known_words = set(re.findall(r"\w+", " ".join(text(name) for name in files(".h", ".cpp", ".inc", under="src/"))))
known_commands = set(re.findall(r"^void add_(\w+)\(CLI::App", text("src/cli/commands.h"), re.MULTILINE))
problems = []
documents = files(".md")
for name in documents:
    content = text(name)
    prose = FENCE.sub("", content)
    for target in LINK.findall(prose):
        if re.match(r"[a-z]+:", target) or target.startswith("#"):
            continue
        beside = PurePosixPath(name).parent / target.split("#")[0]
        if not (SOURCE / beside).exists():
            problems.append(f"{name}: link to {target}, which does not exist")
    for code in CODE.findall(prose):
        if TREE_PATH.fullmatch(code) and not exists(code):
            problems.append(f"{name}: names {code}, which does not exist")
    if name == "docs/ARCHITECTURE.md":
        for code in CODE.findall(prose):
            named = IDENTIFIER.fullmatch(code)
            if named and named.group(1) not in known_words:
                problems.append(f"{name}: names `{code}`, which src/ does not mention")
    for code in CODE.findall(prose) + FENCE.findall(content):
        for command in COMMAND.findall(code):
            if command not in known_commands:
                problems.append(f"{name}: names the command `ostro {command}`, which does not exist")
finish(problems, len(documents))
