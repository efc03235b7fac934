"""Links of the documents lead to files of this repository, and the list of experiments is complete."""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def pages():
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benches/*.md")])


class Links(unittest.TestCase):
    def test_files_are_there(self):
        checked = 0
        for page in pages():
            for target in LINK.findall(page.read_text(encoding="utf-8")):
                if not re.match(r"[a-z]+:|#", target):
                    checked += 1
                    self.assertTrue((page.parent / target.split("#")[0]).exists(), f"{page.relative_to(ROOT)}: {target}")
        self.assertGreater(checked, 50)

    def test_experiments_are_listed(self):
        folder = ROOT / "docs/experiments"
        listed = LINK.findall((folder / "README.md").read_text(encoding="utf-8"))
        self.assertEqual(sorted(name for name in listed if "/" not in name),
                         sorted(path.name for path in folder.glob("*.md") if path.name != "README.md"))


if __name__ == "__main__":
    unittest.main()
