"""test_prove.py - the parts of the proof on emulated machines that need none: reading their consoles, and that each check
fails where it must. The answers judged here are written by hand, after those of real boots."""

import contextlib
import io
import unittest

import machine
import prove
from machine import Answer


def console(*answers, done=True):
    text = "[    0.1] the kernel talks\r\n"
    for name, status, out, err in answers:
        text += f"@@out {name}\r\n{out}\r\n@@err {name}\r\n{err}\r\n@@end {name} {status}\r\n"
    return text + ("@@done\r\n[    9.9] reboot: Power down\r\n" if done else "")


def guest(*rows):
    return Answer(0, "".join(f"{row[0]} {row[1]} {row[2]} {row[3]:.3f} {row[4]}\n" for row in rows), "")


class Console(unittest.TestCase):
    def test_answers(self):
        got = machine.parse(console(("one", 0, "a\r\nb", ""), ("two", 3, "", "words")))
        self.assertEqual(got, {"one": Answer(0, "a\nb", ""), "two": Answer(3, "", "words")})

    def test_a_machine_that_stops_is_no_answer(self):
        with self.assertRaisesRegex(machine.MachineError, "between commands"):
            machine.parse(console(("one", 0, "a", ""), done=False))
        with self.assertRaisesRegex(machine.MachineError, "it stopped in 'one'"):
            machine.parse("@@out one\nKernel panic\n")
        with self.assertRaisesRegex(machine.MachineError, "'one' never ended, and 'two' began"):
            machine.parse("@@out one\n@@out two\n")
        with self.assertRaisesRegex(machine.MachineError, "'@@err two' in the midst of 'one'"):
            machine.parse("@@out one\n@@err two\n")

    def test_quotes_reach_the_command(self):
        self.assertEqual(machine.commands_text({"n": "su user -c 'a b'"}), "ask n 'su user -c '\\''a b'\\'''\n")


class Checks(unittest.TestCase):
    """Each: the truth passes, and a lie of the kind that the check is for does not."""

    def lies(self, check, truth, *lies):
        check(truth)
        for lie in lies:
            with self.assertRaises(AssertionError, msg=str(lie)):
                check(lie)

    def test_cycles_are_not_instructions(self):
        def boots(cycles, instructions):
            return {"first": {"loop": guest(("cycles", cycles, cycles, 1, ""),
                                            ("instructions", instructions, instructions, 1, ""))}}
        self.lies(prove.arm64_instructions_are_the_loops, boots(20000904, 5000226), boots(5000226, 20000904),
                  boots(20000904, 5000225), boots(40000904, 10000226))

    def test_the_table_is_not_swapped(self):
        def boots(cycles, instructions, column, floor=1000):
            head = "block,allocator,set,event,phase,value\n"
            cells = [(block, design) for block in "01" for design in ("null", "bump", "tlsf", "freelist")]
            rows = "".join(f"{b},{d},core,cycles,steady,{cycles}\n{b},{d},core,instructions,steady,{instructions}\n"
                           for b, d in cells)
            results = "block,allocator,ops,pmu_cycles_per_op,pmu_instructions_per_op,harness_pmu_instructions_per_op\n"
            results += "".join(f"{b},{d},1000,{column / 1000},{instructions / 1000},{floor / 1000}\n" for b, d in cells)
            return {"first": {"run": Answer(0, head + rows, ""), "results": Answer(0, results, "")}}
        self.lies(prove.arm64_columns_are_not_swapped, boots(4000, 1000, 4000), boots(1000, 4000, 1000),
                  boots(4000, 1000, 1000), boots(4000, 1001, 4000), boots(4000, 1000, 4000, floor=4000))

    def test_shared_counters(self):
        whole = 5 * prove.TURNS

        def boots(value, raw, ratio, note=""):
            return {"first": {"shared": guest(*[("instructions", value, raw, ratio, note)] * 8)}}
        self.lies(prove.arm64_shared_counters_are_scaled, boots(whole, whole // 2, 0.5), boots(whole, whole, 1),
                  boots(whole // 2, whole // 2, 0.5), boots(whole, whole // 2, 0.5, prove.SUSPECT))

    def test_not_counted(self):
        def boots(last):
            return {"first": {"crowded": guest(("instructions", 5666, 5666, 1, ""), last)}}
        self.lies(prove.arm64_not_counted_is_empty, boots(("instructions", 0, 0, 0, prove.NO_ROOM)),
                  boots(("instructions", 0, 0, 0, "")), boots(("instructions", 0, 0, 1, prove.SUSPECT)))

    def test_pages_are_misses(self):
        def boots(read, write):
            def answer(loads, stores):
                return guest(("cycles", 1, 1, 1, ""), ("dTLB-load-misses", loads, loads, 1, ""),
                             ("dTLB-store-misses", stores, stores, 1, ""))
            return {"first": {"read": answer(*read), "write": answer(*write)}}
        self.lies(prove.riscv64_a_page_is_a_miss, boots((2054, 1), (6, 4097)), boots((1, 2054), (4097, 6)),
                  boots((2047, 1), (6, 4097)), boots((2054, 1), (6, 4200)), boots((0, 0), (0, 0)))

    def test_boots_agree(self):
        def boots(loads):
            def boot(found):
                row = guest(("dTLB-load-misses", found, found, 1, ""), ("dTLB-store-misses", 1, 1, 1, ""))
                return {"read": row, "write": row}
            return {"first": boot(2054), "second": boot(loads)}
        self.lies(prove.riscv64_boots_agree, boots(2049), boots(2000), boots(0))

    def test_an_empty_or_failed_run_proves_nothing(self):
        with self.assertRaises(AssertionError):
            prove.rows_of(Answer(1, "a,b\n1,2\n", "why"))
        with contextlib.redirect_stdout(io.StringIO()) as said:
            wrong = prove.judge("arm64", prove.PROOFS["arm64"][1], {})
        self.assertEqual(wrong, len(prove.PROOFS["arm64"][1]))
        self.assertEqual(said.getvalue().count("FAIL  arm64: "), wrong)


if __name__ == "__main__":
    unittest.main()
