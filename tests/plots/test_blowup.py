"""test_blowup.py - the figure of `make bench-blowup`: lines and bounds from a made-up file, and damage is refused."""
import os
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "..", "plots")]
sys.dont_write_bytecode = True

from matplotlib.text import Text  # noqa: E402

import blowup  # noqa: E402
import style  # noqa: E402

HEADER = "design,formula,objects,committed_bytes,resident_bytes,bound_bytes\n"
ROWS = ("tight,twice live,0,1000,900,4096\ntight,twice live,1000,2048,1900,4096\n"
        "loose,none,0,1000,900,\nloose,none,500,1048576,900000,\n"
        "foreign,none stated,0,,800,\nforeign,none stated,1000,,1600,\n")


class Pages(style.Output):
    def save(self, page, name):
        self.page = page


class Blowup(unittest.TestCase):
    def draw(self, text):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "blowup.csv"), "w", encoding="utf-8") as file:
                file.write(text)
            out = Pages(folder, False)
            blowup.draw(folder, out)
            return out.page

    def test_lines_and_bounds(self):
        page = self.draw(HEADER + ROWS)
        lines = page.axes[0].get_lines()
        self.assertEqual([list(line.get_ydata()) for line in lines],
                         [[1000, 2048], [4096, 4096], [1000, 1048576], [1048576], [800, 1600]])
        self.assertGreater(page.axes[0].get_ylim()[1], 1048576)
        texts = [t.get_text() for t in page.figure.findobj(Text)]
        self.assertTrue(any("tight: twice live = 4 KiB" in t for t in texts))
        self.assertTrue(any("loose: no bound; stopped at 1 MiB after 500 objects" in t for t in texts))
        self.assertIn("foreign (resident)", texts)

    def test_damage_is_refused(self):
        for text, what in ((HEADER, "no row besides the header"), (HEADER + ROWS[:-3], "fields where the header has"),
                           (HEADER + "a,b,x,1,1,1\n", "objects is 'x'"), ("a,b\n1,2\n", "column design is missing")):
            with self.assertRaises(style.BadInput) as caught:
                self.draw(text)
            self.assertIn(what, str(caught.exception))


if __name__ == "__main__":
    unittest.main()
