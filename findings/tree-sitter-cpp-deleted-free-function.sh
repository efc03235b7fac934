#!/usr/bin/env bash
# A free function that is deleted, as the C++ grammar of tree-sitter reads it.
#
# Seen: tree-sitter-cpp 0.23.4 with tree-sitter 0.25.2 (PyPI), CPython 3.11, 1 December 2026; tree-sitter-cpp 0.23 of crates.io does the same.
# C++11 deletes free functions as well as members. One would guess that a grammar reads both alike. A deleted member is a
# function definition with a delete_method_clause, and a constructor defaulted outside of its class is one with a
# default_method_clause. A deleted free function, template or operator, also in a namespace, is a declaration of a
# variable instead, whose initialiser is a delete expression that lacks its operand: the tree has an error. A tool that lists what a header
# declares, and trusts trees without an error alone, refuses such a header.
#
# Needs Python 3 and PyPI; a C++ compiler, where there is one, is asked whether it takes the text. Fails when the grammar reads it otherwise.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" --quiet --disable-pip-version-check install tree-sitter==0.25.2 tree-sitter-cpp==0.23.4

printf '%s\n' 'void f(int) = delete;' 'template <typename T> void g(T) = delete;' \
  'namespace n { void h(int) = delete; }' 'struct s { s(); void m(int) = delete; };' 's::s() = default;' >"$folder/text.cpp"
if command -v c++ >/dev/null; then c++ -std=c++11 -Wall -Werror -fsyntax-only "$folder/text.cpp" && echo 'the compiler takes it'; fi

"$folder/venv/bin/python" - <<'PYTHON'
import sys
import tree_sitter
import tree_sitter_cpp

parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_cpp.language()))
wanted = {
    "void f(int) = delete;": (True, "delete_expression"),
    "template <typename T> void g(T) = delete;": (True, "delete_expression"),
    "int operator+(struct s, int) = delete;": (True, "delete_expression"),
    "namespace n { void h(int) = delete; }": (True, "delete_expression"),
    "struct s { void m(int) = delete; };": (False, "delete_method_clause"),
    "s::s() = default;": (False, "default_method_clause"),
    "void f(int);": (False, "function_declarator"),
}
changed = 0
for text, (error, node) in wanted.items():
    root = parser.parse(text.encode()).root_node
    seen = root.has_error
    print(f"{'error' if seen else 'read '}  {text}\n       {root}")
    changed += seen != error or f"({node}" not in str(root)
sys.exit(f"{changed} of {len(wanted)} are read otherwise" if changed else 0)
PYTHON
