"""test_drain.py - the drain pass: memory after everything is freed, over five real seconds; its cells run side by side, and each is held
to its limits all the same. That five seconds have passed is looked at, how long anything took is not."""

import csv
import os
import subprocess
import tempfile
import unittest

ALLOCLAB = os.environ.get("ALLOCLAB", "./alloclab")
LOAD = "random:ops=40k,live=20k"
COLUMNS = [f"drain_resident_{c}_bytes" for c in ("peak", "before", "0ms", "100ms", "1s", "5s")]


class Drain(unittest.TestCase):
    def run_drain(self, *args, status=0):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.out = os.path.join(holder.name, "out")
        got = subprocess.run([ALLOCLAB, "run", "-o", self.out, "--passes", "drain", *args], capture_output=True, text=True,
                             timeout=200)
        self.assertEqual(got.returncode, status, got.stderr)
        return {(r["allocator"], r["release"]): r for r in self.table("results")}

    def table(self, name):
        with open(os.path.join(self.out, name + ".csv"), newline="") as file:
            return list(csv.DictReader(file))

    def test_drain(self):
        rows = self.run_drain("-a", "segfit,tlsf,libc,bump,hoard", "-w", LOAD)
        self.assertEqual(sorted(int(r["order"]) for r in rows.values()), [0, 1, 2, 3, 4, 5])
        for (name, _), row in rows.items():
            self.assertEqual((row["status"], row["pass"], row["touch"]), ("ok", "drain", "page"))
            peak, before, now, soon, second, late = (int(row[c]) for c in COLUMNS)
            self.assertTrue(peak >= before >= now, name)
            samples = [s for s in self.table("drain") if s["allocator"] == name]
            times = [int(s["freed_ns"]) for s in samples]
            self.assertEqual(times, sorted(times))
            self.assertGreaterEqual(times[-1], 5e9)
            self.assertEqual(len(times), 32, "0, eight a tenfold from 1 ms on, and 5 s")
            at = {int(s["sample"]): int(s["resident_bytes"]) for s in samples}
            self.assertEqual([at[0], at[17], at[25], at[31]], [now, soon, second, late])
            self.assertEqual({s["committed_bytes"] == "" for s in samples}, {name == "libc"})
        used = 3 << 20
        for name in ("segfit", "hoard"):
            self.assertGreater(int(rows[name, "free"]["drain_resident_0ms_bytes"]), used, name)
            self.assertLess(int(rows[name, "free"]["drain_resident_5s_bytes"]), used / 4, "tick gives back what has aged")
        for name in ("tlsf", "bump"):
            self.assertGreater(int(rows[name, "free"]["drain_resident_5s_bytes"]), used, "has no tick")

    def test_scopes(self):
        """Both modes of a design with scopes, and a design without them on a target that it cannot play."""
        rows = self.run_drain("-a", "arena,segfit", "-w", "request:requests=200", "--release", "both")
        self.assertEqual({k: r["status"] for k, r in rows.items() if k[0] != "null"},
                         {("arena", "free"): "ok", ("arena", "scope"): "ok", ("segfit", "free"): "ok",
                          ("segfit", "scope"): "not_applicable"})
        made = subprocess.run(["make", "-s", "figures", "DIR=" + self.out], capture_output=True, text=True, timeout=200)
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertEqual([n for n in os.listdir(self.out) if n.endswith(".png")], ["drain-request-requests-200.png"],
                         "nothing is drawn that was not measured")
        made = subprocess.run(["make", "-s", "figures", "DIR=/nowhere"], capture_output=True, text=True, timeout=60)
        self.assertIn("figures: /nowhere: not a folder", made.stderr)
        self.assertEqual(made.returncode, 2)

    def test_limits(self):
        """Cells that run while others are waited for are held to the limits, too."""
        rows = self.run_drain("-a", "segfit,tlsf,hoard", "-w", LOAD, "--limit-seconds", "2", status=1)
        self.assertEqual({r["status"] for r in rows.values()}, {"timeout"})
        self.assertEqual({r[c] for r in rows.values() for c in COLUMNS[-1:]}, {""})
        rows = self.run_drain("-a", "segfit,tlsf,hoard", "-w", LOAD, "--limit-memory", str(3 << 20), status=1)
        self.assertEqual({k[0]: r["status"] for k, r in rows.items()},
                         {"null": "ok", "segfit": "memory_limit", "tlsf": "memory_limit", "hoard": "memory_limit"})


if __name__ == "__main__":
    unittest.main()
