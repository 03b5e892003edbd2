"""test_blowup.py - the order of designs by the memory they hold when threads free what others allocated: on a longer
`prodcons` pure private heaps hold more and more, and designs with a bound do not. Exact figures of the memory pass."""

import csv
import os
import subprocess
import tempfile
import unittest

ALLOCLAB = os.environ.get("ALLOCLAB", "./alloclab")
BOUNDED = ["hoard", "lockfree", "segfit"]
PROGRAM = "prodcons:producers=2,consumers=2,queue=64,max=512,ops="


def peaks(ops):
    """{design: (peak requested, peak committed)}, bytes."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        subprocess.run([ALLOCLAB, "run", "-a", ",".join(BOUNDED + ["private"]), "-w", PROGRAM + ops, "-o", out,
                        "--passes", "memory", "--seed", "1"], check=True, capture_output=True, text=True)
        with open(os.path.join(out, "results.csv"), newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    assert all(row["status"] == "ok" for row in rows), rows
    return {row["allocator"]: (int(row["peak_requested_bytes"]), int(row["peak_committed_bytes"])) for row in rows}


class Blowup(unittest.TestCase):
    def test_private_grows_and_the_others_do_not(self):
        short, long = peaks("40k"), peaks("240k")
        requested, private = long["private"]
        self.assertGreater(private, 3 * short["private"][1])
        self.assertGreater(private, 20 * requested)
        for design in BOUNDED:
            with self.subTest(design=design):
                self.assertLess(long[design][1], 1.25 * short[design][1])
                self.assertGreater(private, 3 * long[design][1])


if __name__ == "__main__":
    unittest.main()
