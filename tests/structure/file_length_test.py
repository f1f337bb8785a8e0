"""No source, test, script or build file is longer than 800 lines, and each begins by saying what it owns (a .cpp beside
a header of the same name leaves that to the header)."""

from source_tree import files, finish, text

LIMIT = 800

problems = []
names = files(".h", ".cpp", ".inc", ".py", ".cmake", "CMakeLists.txt") + files(under="scripts/")
for name in names:
    content = text(name)
    lines = content.count("\n")
    if lines > LIMIT:
        problems.append(f"{name}: {lines} lines, the limit is {LIMIT}")
    if not name.startswith("src/") or (name.endswith(".cpp") and name[:-4] + ".h" in names):
        continue
    if name.endswith((".h", ".cpp", ".inc")) and not content.startswith("// "):
        problems.append(f"{name}: begins without a comment that says what the file owns")
finish(problems, len(names))
