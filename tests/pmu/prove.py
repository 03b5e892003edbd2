"""prove.py - proves on emulated machines, whose PMU counts, what no machine at hand can show: that hardware counters
opened through the harness count what they say. `make prove-pmu`; not part of `make test`, since it fetches two kernels.

arm64 counts cycles and instructions, exactly: four cycles an instruction, so that swapped columns show. It has no event
for caches or translations (ENOENT), and takes raw codes that it never counts. riscv64 counts misses of translations for
real. prove.py ARCH ...: boots, checks, ends with "N passed, N failed"."""

import csv
import io
import sys

import machine

NO_EVENT = "this PMU has no such event (ENOENT)"
NO_PMU = "no PMU on this machine (ENOENT)"
SUSPECT = "suspect: it stands at 0 while the PMU runs: this machine may not count it"
NO_ROOM = "not counted: the PMU had no room for the group (somebody else counts, or the NMI watchdog)"
DESIGNS = ["freelist", "segfit", "slab", "buddy", "tlsf", "hoard", "lockfree", "arena"]
CYCLES_PER_INSTRUCTION = 4  # arm64: -icount shift=2
TURNS = 50_000_000  # of a loop: long enough for groups to take turns
PAGES_READ, PAGES_WRITTEN = 2048, 4096
SLACK_PAGES = 16  # of the kernel and of what is around the loop: riscv64 counts these as well
SLACK_BOOTS = 8  # between two boots
RUN = ("/alloclab run -a freelist,tlsf,bump -w random:ops=20000,live=1000 -r 2 --seed 1 --passes counters --counters {} "
       "-o /tmp/{} >&2; s=$?; cat /tmp/{}/{}.csv; exit $s")


RUN_PARALLEL = ("/alloclab run -a hoard -w prodcons:ops=5000 -r 1 --seed 1 --passes counters --replay parallel "
                "--counters core -o /tmp/parallel >&2; s=$?; cat /tmp/parallel/counters.csv; exit $s")


def run(counters, name, table="counters"):
    return RUN.format(counters, name, name, table)


def events(answer):
    """[(event, value, raw, ratio, note)] of what tests/pmu/guest.c printed."""
    rows = []
    for line in answer.out.split("\n"):
        if line:
            event, value, raw, ratio, note = line.split(" ", 4)
            rows.append((event, float(value), int(raw), float(ratio), note))
    return rows


def rows_of(answer):
    """The rows of a table that a run printed."""
    if answer.status:
        raise AssertionError(f"exit status {answer.status}: {answer.err}")
    return list(csv.DictReader(io.StringIO(answer.out)))


def need(fact, text):
    if not fact:
        raise AssertionError(text)


def said(answer):
    """Words of `alloclab list counters`, by event; of one that is in several sets the last."""
    pairs = (line.split(None, 1) for line in answer.out.split("\n") if line.startswith("    "))
    return {event: words.strip() for event, words in pairs}


# ---- arm64 ----

ARM64_COMMANDS = {
    "list": "/alloclab list counters",
    "loop": "/guest core loop 1000000",
    "shared": f"/guest core loop {TURNS} 8",
    "crowded": "/guest core loop 1000 8",
    "raw": "/guest L1D_CACHE_REFILL loop 1000000",
    "run": run("core,cache,tlb,L1D_CACHE_REFILL,software", "run"),
    "results": "cat /tmp/run/results.csv",
    "parallel": RUN_PARALLEL,
    "stranger": "echo 3 > /proc/sys/kernel/perf_event_paranoid; su user -c '/alloclab list counters'",
    "stranger_run": "su user -c '" + run("core,software", "stranger") + "'",
    "guest_of_two": "echo 2 > /proc/sys/kernel/perf_event_paranoid; su user -c '/alloclab list counters'",
    **{f"check_{d}": f"/alloclab check -a {d} -w random:ops=20000" for d in DESIGNS},
}
ARM64_AGAIN = {name: ARM64_COMMANDS[name] for name in ("loop", "run")}
ARM64_OFF = {"list": ARM64_COMMANDS["list"], "run": run("core,tlb,software", "run"), "results": "cat /tmp/run/results.csv"}


def arm64_boots():
    return {"first": machine.boot("arm64", ARM64_COMMANDS), "second": machine.boot("arm64", ARM64_AGAIN),
            "third": machine.boot("arm64", ARM64_AGAIN), "off": machine.boot("arm64", ARM64_OFF, cpu=",pmu=off")}


def arm64_lists_what_counts(boots):
    words = said(boots["first"]["list"])
    for event, expected in (("cycles", "counts"), ("instructions", "counts"), ("branch-misses", NO_EVENT),
                            ("L1-dcache-load-misses", NO_EVENT), ("dTLB-load-misses", NO_EVENT),
                            ("page-faults", "counts")):
        need(words[event] == expected, f"{event}: {words[event]}")


def arm64_instructions_are_the_loops(boots):
    """The loop has two nops, an addition, a comparison and a jump."""
    (_, cycles, _, ratio, _), (name, instructions, _, _, note) = events(boots["first"]["loop"])[:2]
    need((name, ratio, note) == ("instructions", 1, ""), f"{name} {ratio} {note}")
    need(5_000_000 <= instructions < 5_002_000, f"{instructions:.0f} instructions in a million turns of five")
    need(cycles == CYCLES_PER_INSTRUCTION * instructions, f"{cycles:.0f} cycles, {instructions:.0f} instructions")


def counted(answer, event, phase="steady"):
    return {(r["block"], r["allocator"]): float(r["value"]) for r in rows_of(answer)
            if (r["set"], r["event"], r["phase"]) == ("core", event, phase)}


def arm64_columns_are_not_swapped(boots):
    cycles, instructions = (counted(boots["first"]["run"], event) for event in ("cycles", "instructions"))
    need(len(cycles) == 2 * 4, f"{len(cycles)} cells")
    for cell, value in cycles.items():
        need(abs(value - CYCLES_PER_INSTRUCTION * instructions[cell]) < 0.01, f"{cell}: {value}, {instructions[cell]}")
    for row in rows_of(boots["first"]["results"]):
        ops = int(row["ops"])
        cell = row["block"], row["allocator"]
        for column, values in (("pmu_cycles_per_op", cycles), ("pmu_instructions_per_op", instructions)):
            need(abs(float(row[column]) * ops - values[cell]) < 1, f"{cell}: {column} is {row[column]}")
        floor = row["harness_pmu_instructions_per_op"]
        if row["allocator"] != "null":
            need(abs(float(floor) * ops - instructions[row["block"], "null"]) < 1, f"{cell}: the floor is {floor}")


def arm64_boots_agree(boots):
    first = counted(boots["first"]["run"], "instructions")
    for other in "second", "third":
        again = counted(boots[other]["run"], "instructions")
        need(first == again, f"first {first}, {other} {again}")
        need(events(boots["first"]["loop"])[1] == events(boots[other]["loop"])[1], f"loop, {other}")
    for (_, design), value in first.items():
        need(value == first["0", design], f"{design}: {first['0', design]} and {value} in two blocks")


def arm64_what_is_not_there_is_empty(boots):
    rows = [r for r in rows_of(boots["first"]["run"]) if r["set"] in ("cache", "tlb") and r["event"] != "cycles"]
    need(len(rows) == 2 * 4 * 9, f"{len(rows)} rows")
    for row in rows:
        need((row["value"], row["per_op"], row["running_ratio"], row["note"]) == ("", "", "", NO_EVENT), str(row))
    for row in rows_of(boots["first"]["results"]):
        for column in "pmu_l1d_load_misses_per_op", "pmu_dtlb_load_misses_per_op", "pmu_branch_misses_per_op":
            need(row[column] == "", f"{column}: {row[column]}")
    lines = [line for line in boots["first"]["run"].err.split("\n") if line.startswith("--counters: ")]
    need(len(lines) == 1 and NO_EVENT in lines[0], f"stderr: {lines}")


def arm64_silent_counter_is_suspect(boots):
    (_, cycles, _, _, _), (name, value, _, ratio, note) = events(boots["first"]["raw"])
    need(cycles > 0 and (name, value, ratio, note) == ("L1D_CACHE_REFILL", 0, 1, SUSPECT), f"{value} {ratio} {note}")
    rows = [r for r in rows_of(boots["first"]["run"]) if r["event"] == "L1D_CACHE_REFILL"]
    need(len(rows) == 2 * 4, f"{len(rows)} rows")
    for row in rows:
        need((row["value"], row["suspect"], row["note"]) == ("0", "yes", SUSPECT), str(row))


def arm64_shared_counters_are_scaled(boots):
    """Eight groups of two, on a PMU that has fewer: each gets a share, and is scaled up to the truth."""
    rows = [r for r in events(boots["first"]["shared"]) if r[0] == "instructions"]
    need(len(rows) == 8, f"{len(rows)} groups")
    for _, value, raw, ratio, note in rows:
        need(0 < ratio < 0.9 and not note, f"share {ratio}, {note}")
        need(raw < 0.95 * 5 * TURNS and abs(value - 5 * TURNS) < 0.01 * 5 * TURNS, f"{value:.0f} scaled from {raw}")


def arm64_not_counted_is_empty(boots):
    """The loop ends before the later groups had their turn."""
    rows = [r for r in events(boots["first"]["crowded"]) if r[0] == "instructions"]
    need(rows[0][2] > 5000 and not rows[0][4], str(rows[0]))
    need((rows[-1][1], rows[-1][3], rows[-1][4]) == (0, 0, NO_ROOM), str(rows[-1]))


def arm64_without_a_pmu(boots):
    words = said(boots["off"]["list"])
    need(words["cycles"] == words["dTLB-loads"] == NO_PMU, words["cycles"])
    need(words["page-faults"] == "counts", words["page-faults"])
    for row in rows_of(boots["off"]["run"]):
        need((row["value"] == "") == (row["source"] == "pmu"), str(row))
    for row in rows_of(boots["off"]["results"]):
        need((row["status"], row["pmu_cycles_per_op"]) == ("ok", ""), str(row))
        need(row["software_cold_page_faults_per_op"] != "", "page faults are there")
    need(f"core, tlb: {NO_PMU}" in boots["off"]["run"].err, boots["off"]["run"].err)


def arm64_without_the_right(boots):
    remedy = "kernel.perf_event_paranoid is {}: run as root, or: sysctl kernel.perf_event_paranoid={} (EACCES)"
    words = said(boots["first"]["stranger"])
    need(words["cycles"] == words["page-faults"] == remedy.format(3, 2), words["cycles"])
    need(words["context-switches"] == remedy.format(3, 1), words["context-switches"])
    rows = rows_of(boots["first"]["stranger_run"])
    need(rows and all(r["value"] == "" and "EACCES" in r["note"] for r in rows), "a row has a value")
    words = said(boots["first"]["guest_of_two"])
    need((words["cycles"], words["instructions"], words["page-faults"]) == ("counts",) * 3, str(words))
    need(words["context-switches"] == remedy.format(2, 1), words["context-switches"])


def arm64_threads_are_counted_apart(boots):
    lanes = {event: {r["lane"]: float(r["value"]) for r in rows_of(boots["first"]["parallel"]) if r["event"] == event}
             for event in ("cycles", "instructions")}
    for event, of in lanes.items():
        total = of.pop("all")
        need(len(of) > 2 and min(of.values()) > 0, f"{event}: {of}")
        need(abs(sum(of.values()) - total) < 1, f"{event}: {of} are {sum(of.values())}, not {total}")
    for lane, value in lanes["cycles"].items():
        need(abs(value - CYCLES_PER_INSTRUCTION * lanes["instructions"][lane]) < 0.01, f"lane {lane}")


def designs_keep_their_promises(boots):
    for design in DESIGNS:
        answer = boots["first"][f"check_{design}"]
        need(answer.status == 0 and answer.out.startswith("ok "), f"{design}: {answer.out} {answer.err}")


# ---- riscv64 ----

MISSES = "dTLB-load-misses+dTLB-store-misses"
RISCV64_COMMANDS = {
    "list": "/alloclab list counters",
    "read": f"/guest {MISSES} read {PAGES_READ}",
    "write": f"/guest {MISSES} write {PAGES_WRITTEN}",
    "twice": "/guest core loop 100000 2",
    "run": run("tlb", "run"),
    "results": "cat /tmp/run/results.csv",
    **{f"check_{d}": f"/alloclab check -a {d} -w random:ops=20000" for d in DESIGNS},
}
RISCV64_AGAIN = {name: RISCV64_COMMANDS[name] for name in ("list", "read", "write")}


def riscv64_boots():
    return {"first": machine.boot("riscv64", RISCV64_COMMANDS), "second": machine.boot("riscv64", RISCV64_AGAIN)}


def riscv64_lists_what_counts(boots):
    words = said(boots["first"]["list"])
    for event in "cycles", "instructions", "dTLB-load-misses", "dTLB-store-misses":
        need(words[event] == "counts", f"{event}: {words[event]}")
    need(words["dTLB-loads"] == NO_EVENT, words["dTLB-loads"])


def misses(answer):
    return {row[0]: row[2] for row in events(answer)}


def riscv64_a_page_is_a_miss(boots):
    for name, event, other, pages in (("read", "dTLB-load-misses", "dTLB-store-misses", PAGES_READ),
                                      ("write", "dTLB-store-misses", "dTLB-load-misses", PAGES_WRITTEN)):
        found = misses(boots["first"][name])
        need(pages <= found[event] <= pages + SLACK_PAGES, f"{name}: {found[event]} misses, {pages} pages")
        need(found[other] <= SLACK_PAGES, f"{name}: {found[other]} {other}")


def riscv64_boots_agree(boots):
    """But for a handful: the emulator resizes its own table of translations by the host's clock."""
    for name in "read", "write":
        first, second = misses(boots["first"][name]), misses(boots["second"][name])
        for event in MISSES.split("+"):
            need(abs(first[event] - second[event]) <= SLACK_BOOTS, f"{name}: {first[event]} and {second[event]} {event}")


def riscv64_a_lying_pmu_is_suspect(boots):
    """It has one counter of cycles, says of a second that it runs, and leaves it at 0."""
    rows = events(boots["first"]["twice"])
    need(rows[0][2] > 0 and not rows[0][4], str(rows[0]))
    need((rows[4][0], rows[4][2], rows[4][3], rows[4][4]) == ("cycles", 0, 1, SUSPECT), str(rows[4]))


def riscv64_a_session_has_the_columns(boots):
    by_cell = {(r["block"], r["allocator"], r["event"]): r for r in rows_of(boots["first"]["run"])}
    for row in rows_of(boots["first"]["results"]):
        for event, column in (("dTLB-load-misses", "pmu_dtlb_load_misses_per_op"),
                              ("dTLB-store-misses", "pmu_dtlb_store_misses_per_op")):
            counter = by_cell[row["block"], row["allocator"], event]
            need(counter["source"] == "pmu" and counter["value"] != "", str(counter))
            need(abs(float(row[column]) - float(counter["per_op"])) < 1e-5, f"{column}: {row[column]}, {counter}")
        need(row["pmu_l1d_load_misses_per_op"] == "", "it was not asked for")


PROOFS = {
    "arm64": (arm64_boots, [
        arm64_lists_what_counts, arm64_instructions_are_the_loops, arm64_columns_are_not_swapped, arm64_boots_agree,
        arm64_what_is_not_there_is_empty, arm64_silent_counter_is_suspect, arm64_shared_counters_are_scaled,
        arm64_not_counted_is_empty, arm64_without_a_pmu, arm64_without_the_right, arm64_threads_are_counted_apart,
        designs_keep_their_promises]),
    "riscv64": (riscv64_boots, [
        riscv64_lists_what_counts, riscv64_a_page_is_a_miss, riscv64_boots_agree, riscv64_a_lying_pmu_is_suspect,
        riscv64_a_session_has_the_columns, designs_keep_their_promises]),
}


def judge(arch, checks, boots):
    """Prints a line a check; how many failed."""
    failed = 0
    for check in checks:
        try:
            check(boots)
            print(f"ok    {arch}: {check.__name__}")
        except (AssertionError, KeyError, IndexError, ValueError) as why:
            failed += 1
            print(f"FAIL  {arch}: {check.__name__}: {type(why).__name__}: {why}")
    return failed


def main(archs):
    passed = failed = 0
    for arch in archs:
        boots, checks = PROOFS[arch]
        try:
            wrong = judge(arch, checks, boots())
        except machine.MachineError as why:
            print(f"FAIL  {arch}: the machine: {why}")
            wrong = len(checks)
        failed += wrong
        passed += len(checks) - wrong
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    unknown = [arch for arch in sys.argv[1:] if arch not in PROOFS]
    if unknown or len(sys.argv) < 2:
        sys.exit(f"prove.py: usage: prove.py {'|'.join(PROOFS)} ..")
    sys.exit(main(sys.argv[1:]))
