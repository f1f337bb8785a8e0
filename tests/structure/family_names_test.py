"""No code outside the reader of specs and the tables of tensor names and chat formats knows a model family by name.
Comments may name one as an example; names of programs and file layouts are not families."""

import re

from source_tree import files, finish, text, without_comments

FAMILIES = re.compile(r"mistral|mixtral|llama|grok|dbrx|openmoe|deepseek|qwen|olmoe|gpt-?oss|smollm|gemma|phi-?[234]",
                      re.IGNORECASE)

# Where families are known, by design.
HOME = re.compile(r"src/model/(read_spec|write_spec|tensor_names)\w*\.(cpp|h)|"
                  r"src/text/(chat\w*\.(cpp|h)|split_patterns\.cpp)")

# What else may contain such a word: (file pattern, what to ignore, why).
ALLOWED = [
    (r".*", r"llama\.cpp|llama-bench", "programs, not families"),
    (r"src/cli/.*", r'"  ostro [^\n]*', "examples in --help"),
    (r"src/text/(tokenizer_gguf|export_tokenizer)\.cpp", r'"llama"|\\"llama\\"', "GGUF's name of SentencePiece vocabularies"),
    (r".*", r"CheckpointFormat \{.*?\}|CheckpointFormat::Mistral", "a file layout: params.json beside consolidated.*"),
    (r"src/cli/convert.cpp", r'"hf", "mistral"', "a file layout, by the name its users know"),
    (r"src/cli/.*", r"Mistral's (own )?layout", "a file layout, by the name its users know"),
]


def offences(name, code):
    for pattern, ignored, _ in ALLOWED:
        if re.fullmatch(pattern, name):
            code = re.sub(ignored, "", code)
    lines = without_comments(code).split("\n")
    return [f"{name}:{number}: names a family: {line.strip()}" for number, line in enumerate(lines, 1)
            if FAMILIES.search(line)]


assert offences("src/engine/a.cpp", 'if (spec.family == "mixtral") {')
assert not offences("src/engine/a.cpp", "// Mixtral has 8 experts")

problems = []
sources = [name for name in files(".h", ".cpp", ".inc", under="src/") if not HOME.fullmatch(name)]
for name in sources:
    problems += offences(name, text(name))
finish(problems, len(sources))
