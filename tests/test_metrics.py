"""test_metrics.py - metrics of the memory pass whose values follow from a law or from the workload's make: the table by size class sums
up to what was committed, blowup and shared lines are there where a workload brings them about, and empty where they make no sense."""

import csv
import os
import subprocess
import tempfile
import unittest

ALLOCLAB = os.environ.get("ALLOCLAB", "./alloclab")
FOREIGN = {"libc"}
NO_USABLE = {"null", "arena", "bump"}
WALKS = ["walk_meta_bytes", "walk_live_bytes", "walk_free_bytes", "walk_unused_bytes"]
FALSE_SHARING = {"cachescratch:ops=6k": {"hoard", "lockfree"},                             # that share no line
                 "cachethrash:ops=6k": {"hoard", "lockfree", "segfit", "hugepack", "private"}}
PAIR = "prodcons:ops=60k,producers=1,consumers=1,queue=1000"


class Metrics(unittest.TestCase):
    """One session for all tests: each design on each workload, once."""

    @classmethod
    def setUpClass(cls):
        cls.holder = tempfile.TemporaryDirectory()
        out = os.path.join(cls.holder.name, "out")
        cls.workloads = ["random:ops=30k,live=8k", "request:requests=200", PAIR, *FALSE_SHARING]
        got = subprocess.run([ALLOCLAB, "run", "-o", out, "--passes", "memory", "--release", "both", "--seed", "1", "-w",
                              ",".join(cls.workloads)], capture_output=True, text=True, timeout=200)
        assert got.returncode == 0, got.stderr
        cls.table = {}
        for name in ("results", "classes", "timeline"):
            with open(os.path.join(out, name + ".csv"), newline="") as file:
                cls.table[name] = list(csv.DictReader(file))

    @classmethod
    def tearDownClass(cls):
        cls.holder.cleanup()

    @staticmethod
    def key(row):
        return row["allocator"], row["workload"], row["release"]

    def rows(self, **wanted):
        found = [r for r in self.table["results"] if r["status"] == "ok" and
                 all(r[k] == v if isinstance(v, str) else r[k] in v for k, v in wanted.items())]
        self.assertTrue(found, wanted)
        return found

    def classes_of(self, row):
        found = [c for c in self.table["classes"] if self.key(c) == self.key(row)]
        self.assertTrue(found, self.key(row))
        return found

    def test_classes_sum_up(self):
        for row in self.rows():
            classes, name = self.classes_of(row), self.key(row)
            if row["allocator"] in FOREIGN:
                self.assertEqual({c[w] for c in classes for w in WALKS}, {""}, name)
            else:
                self.assertEqual(sum(int(c[w]) for c in classes for w in WALKS), int(row["peak_committed_bytes"]), name)
            at = [t for t in self.table["timeline"] if self.key(t) == name and t["op_index"] == classes[0]["op_index"]]
            for column in ["requested_bytes"] + ["usable_bytes"] * (row["allocator"] not in NO_USABLE):
                self.assertEqual({str(sum(int(c[column]) for c in classes))}, {t[column] for t in at}, (name, column))

    def test_classes_of_objects(self):
        ops = {row["workload"]: set() for row in self.rows()}
        for row in self.rows():
            classes = self.classes_of(row)
            ops[row["workload"]].add(sum(int(c["requests_count"]) for c in classes))
            self.assertLess(len(classes), 200)
            for c in classes:
                if row["allocator"] in NO_USABLE:
                    self.assertEqual((c["usable_bytes"], c["internal_waste_bytes"]), ("", ""))
                elif not c["class_bytes"]:
                    self.assertEqual((c["requests_count"], c["live_count"]), ("0", "0"))
                else:
                    self.assertEqual(int(c["usable_bytes"]), int(c["requested_bytes"]) + int(c["internal_waste_bytes"]))
                    self.assertLessEqual(int(c["usable_bytes"]), int(c["live_count"]) * int(c["class_bytes"]))
        self.assertEqual({w: len(counts) for w, counts in ops.items()}, dict.fromkeys(ops, 1), "the same for all designs")

    def test_free_bytes_have_a_class(self):
        """What a design of size classes, or of blocks, keeps free after frees is told by class."""
        for row in self.rows(workload=self.workloads[0], allocator={"segfit", "slab", "hoard", "buddy", "tlsf", "freelist"}):
            free = {bool(c["class_bytes"]): 0 for c in self.classes_of(row)}
            for c in self.classes_of(row):
                free[bool(c["class_bytes"])] += int(c["walk_free_bytes"])
            self.assertGreater(free[True], 0, self.key(row))
            live = [int(c["walk_live_bytes"]) for c in self.classes_of(row) if not c["class_bytes"]]
            self.assertEqual(sum(live), 0, "every object's bytes are of its class")

    def test_net_is_what_free_memory_adds(self):
        told = 0
        for row in self.rows(workload=self.workloads[:2]):
            if row["frag_jw4_ratio"]:
                self.assertAlmostEqual(float(row["peak_utilisation_ratio"]), 1 / (1 + float(row["frag_jw4_ratio"])), 5)
            gross = [row[f"frag_jw{i}_ratio"] for i in (1, 2, 3, 4)]
            net = [row[f"frag_jw{i}_net_ratio"] for i in (1, 2, 3, 4)]
            if row["allocator"] in FOREIGN | NO_USABLE:
                self.assertEqual(net, [""] * 4, self.key(row))
                continue
            for a, b in zip(gross[1:], net[1:]):
                self.assertEqual(a == "", b == "", self.key(row))
                self.assertTrue(not a or 0 <= float(b) < float(a), self.key(row))
                told += b != ""
        self.assertGreater(told, 20)

    def test_kernel_peak(self):
        for row in self.rows():
            kernel, sampled = int(row["peak_resident_kernel_bytes"]), int(row["peak_resident_bytes"])
            self.assertGreaterEqual(kernel + 512 * 1024, sampled, self.key(row))

    def test_blowup(self):
        ratio = {r["allocator"]: r["blowup_ratio"] for r in self.rows(workload=PAIR)}
        self.assertGreater(float(ratio["private"]), 3, "memory freed elsewhere never comes back")
        self.assertLess(float(ratio["lockfree"]), float(ratio["private"]))
        for name in ("freelist", "slab", "libc", "null"):
            self.assertEqual(ratio[name], "", "no thread views, or not through the door")
        self.assertEqual({r["blowup_ratio"] for r in self.rows(workload=self.workloads[0])}, {""}, "one thread")

    def test_shared_lines(self):
        for workload, good in FALSE_SHARING.items():
            for row in self.rows(workload=workload):
                peak, mean, ratio = (row[f"shared_lines_{c}"] for c in ("peak_count", "mean_count", "ratio"))
                if row["allocator"] in {"libc", "null"}:
                    self.assertEqual([peak, mean, ratio], ["", "", ""])
                elif row["allocator"] in good:
                    self.assertEqual([peak, mean, ratio], ["0", "0", ""], self.key(row))
                else:
                    self.assertGreater(int(peak), 1, self.key(row))
                    self.assertGreater(float(mean), 0.9, self.key(row))
        self.assertEqual({r["shared_lines_peak_count"] for r in self.rows(workload=self.workloads[0])}, {""}, "one thread")


if __name__ == "__main__":
    unittest.main()
