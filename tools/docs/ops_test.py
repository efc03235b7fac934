"""README's table has every op of the library, and no function that the library has not."""

import json
import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def table_rows():
    """The first cells under "What is there", each as the names in it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("\n## What is there\n")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")]
    return [re.findall(r"`(reflex_\w+\*?)`", cell) for cell in cells[2:]]


class Ops(unittest.TestCase):
    def setUp(self):
        api = json.loads((ROOT / "include/reflex/api.json").read_text(encoding="utf-8"))
        self.ops = [op["functions"]["run"] for op in api["ops"]]
        self.functions = [function["name"] for function in api["functions"]]

    def test_every_op_stands_once(self):
        names = [name for row in table_rows() for name in row]
        for op in self.ops:
            self.assertEqual(names.count(op), 1, f"{op} in README's table")

    def test_nothing_else_is_named(self):
        rows = table_rows()
        self.assertGreater(len(rows), 10)
        for row in rows:
            self.assertTrue(row, "a row without a name")
            for name in row:
                known = [f for f in self.functions if f == name or (name[-1] == "*" and f.startswith(name[:-1]))]
                self.assertTrue(known, f"{name} stands in README's table and is no function of the library")


if __name__ == "__main__":
    unittest.main()
