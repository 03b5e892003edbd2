"""test_install.py - scripts/install.sh on machines that lack something, played by stand-ins for dpkg and apt.

run.py: modes=release
"""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

INSTALL = os.path.abspath("scripts/install.sh")
DPKG = """#!/bin/sh
shift 3
for p in "$@"; do
    case " $LACKS " in *" $p "*) ;; *) echo "$p ${STATUS:-installed}" ;; esac
done
"""
APT = """#!/bin/sh
echo "$@" >>"$LOG"
case " $* " in
*" update "*) exit ${UPDATE:-0} ;;
*) [ "${FAIL:-}" ] || exit 0; echo "E: no luck"; exit 100 ;;
esac
"""
SUDO = '#!/bin/sh\n[ "$1" = -n ] && exit 1\necho "sudo $1" >>"$LOG"\nexec "$@"\n'


class Install(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="alloclab-install-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.log = self.root / "log"
        for name, text in (("dpkg-query", DPKG), ("apt-get", APT), ("sleep", "#!/bin/sh\n")):
            self.tool(name, text)
        for name in ("sh", "env", "mktemp", "rm", "cat", "echo", "true"):
            os.symlink(shutil.which(name), self.root / name)
        self.tool("id", "#!/bin/sh\necho ${USER_ID:-0}\n")

    def tool(self, name, text):
        (self.root / name).write_text(text)
        (self.root / name).chmod(0o755)

    def install(self, *groups, **variables):
        self.log.write_text("")
        env = {"PATH": str(self.root), "LOG": str(self.log), **variables}
        done = subprocess.run([INSTALL, *groups], env=env, capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, start_new_session=True)
        return done.returncode, done.stdout, done.stderr, self.log.read_text().splitlines()

    def test_nothing_missing(self):
        self.assertEqual(self.install(), (0, "", "", []))
        self.assertEqual(self.install("base", "lint"), (0, "", "", []))

    def test_something_missing(self):
        status, out, err, calls = self.install(LACKS="libzstd-dev make")
        self.assertEqual((status, out, err, len(calls)), (0, "installing: make libzstd-dev\n", "", 2))
        self.assertTrue(calls[0].endswith(" update"))
        self.assertTrue(calls[1].endswith(" install -y --no-install-recommends make libzstd-dev"))
        self.assertIn("DPkg::Lock::Timeout=", calls[1])

    def test_a_removed_package_whose_settings_stay_is_missing(self):
        self.assertEqual(self.install("lint", STATUS="config-files")[0:1], (0,))
        self.assertIn("shellcheck", self.log.read_text())

    def test_groups_are_installed_on_demand(self):
        self.assertEqual(self.install(LACKS="cppcheck")[3], [])
        self.assertTrue(self.install("lint", LACKS="cppcheck")[3][-1].endswith(" cppcheck"))

    def test_unknown_group(self):
        status, _, err, calls = self.install("nothing")
        self.assertEqual((status, calls), (2, []))
        self.assertIn("no group 'nothing'", err)

    def test_no_right(self):
        status, _, err, calls = self.install(LACKS="make", USER_ID="1000")
        self.assertEqual((status, calls), (2, []))
        self.assertIn("missing: make; no right to install: run as root: apt-get install make", err)

    def test_sudo_that_cannot_ask(self):
        self.tool("sudo", SUDO)
        status, _, err, calls = self.install(LACKS="make", USER_ID="1000")
        self.assertEqual((status, calls), (2, []))
        self.assertIn("sudo apt-get install make", err)

    def test_sudo_without_a_password(self):
        self.tool("sudo", SUDO.replace("exit 1", "exit 0"))
        status, _, err, calls = self.install(LACKS="make", USER_ID="1000")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual([line for line in calls if line.startswith("sudo")], ["sudo env", "sudo env"])

    def test_update_that_fails_is_tried_again_and_then_done_without(self):
        status, _, err, calls = self.install(LACKS="make", UPDATE="1")
        self.assertEqual((status, len(calls)), (0, 4))
        self.assertIn("apt-get update failed", err)

    def test_install_that_fails(self):
        status, _, err, _ = self.install(LACKS="make", FAIL="1")
        self.assertEqual(status, 2)
        self.assertIn("E: no luck", err)
        self.assertIn("could not install: make", err)


if __name__ == "__main__":
    unittest.main()
