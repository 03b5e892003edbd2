"""test_programs.py - real programs, all their processes recorded: they do what they do bare, no op is lost, no order is repaired,
and the oracle finds nothing when the traces are replayed on libc, segfit and tlsf, those with threads in parallel too.

Programs that are not installed are skipped, by the name of their package; `make record-programs` installs all, runs each
on more work, as `make test-full` does, and prints the table.

run.py: modes=release timeout=900
"""

import concurrent.futures
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import unittest

from recorded_programs import FULL, TOP, ProgramsTest, needs

sys.path.insert(0, str(TOP / "tests/dropin"))
import tasks  # noqa: E402

BASH = r"""
for i in $(seq ROUNDS); do
    seq 500 | sort -R --random-source=/bin/bash | awk '{s += $1} END {print s}' | sed "s/^/$i: /"
done
wc -c < <(for i in {1..200}; do echo "line $i"; done)
coproc cat; echo through >&"${COPROC[1]}"; read -r line <&"${COPROC[0]}"; echo "$line"; eval "exec ${COPROC[1]}>&-"; wait
(echo a; exec 3<<< word; read -r -u 3 w; echo "$w") & wait
trap 'echo trapped' USR1; kill -USR1 $$; type -t ls
{ yes | head -n 100000 | tail -n 1; } 2>&1; echo "${PIPESTATUS[@]}"
exit 7
"""
PHP = r"""<?php
$table = [];
for ($i = 0; $i < ROUNDS; $i++)
    $table["key " . ($i * 7) % 7919] = str_repeat("x", $i % 900);
$text = json_encode($table);
preg_match_all('/"key (\d+)"/', $text, $found);
echo count($table), " ", count($found[1]), " ", strlen(iconv("UTF-8", "UTF-16", substr($text, 0, 5000))), " ", md5($text), "\n";
"""

NODE = r"""
const { Worker, isMainThread, parentPort, workerData } = require("worker_threads");
const zlib = require("zlib"), crypto = require("crypto"), { execFileSync } = require("child_process");
function work(seed) {
    const table = new Map();
    for (let i = 0; i < ROUNDS; i++) table.set("key " + (i * seed) % 7919, Buffer.alloc(i % 900, i % 256));
    const text = JSON.stringify([...table.keys()]);
    return crypto.createHash("sha256").update(zlib.inflateSync(zlib.deflateSync(text))).digest("hex").slice(0, 16);
}
if (isMainThread) {
    const answers = [1, 2, 3].map(seed => new Promise((done, failed) => {
        const worker = new Worker(__filename, { workerData: seed });
        worker.on("message", done); worker.on("error", failed);
    }));
    Promise.all(answers).then(all => {
        console.log(all.join(" "), execFileSync("echo", ["child"]).toString().trim());
        const key = new Promise(done => crypto.pbkdf2("a", "b", 2000, 32, "sha512", (error, key) => done(key.toString("hex"))));
        const names = new Promise(done => require("fs").readdir(".", (error, names) => done([error, names.length > 0])));
        Promise.all([key, names]).then(both => both.forEach(one => console.log(one)));
    });
} else parentPort.postMessage(work(workerData));
"""
PROCESSES = r"""
import concurrent.futures, json, multiprocessing, os, subprocess, threading, zlib
def work(n):
    return zlib.crc32(json.dumps({str(i * n): [i] * (i % 40) for i in range(SIZE)}, sort_keys=True).encode())
def fork(n):
    pid = os.fork()
    if pid == 0:
        work(n)
        os._exit(n)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        pool = multiprocessing.get_context(method).Pool(2)
        print(method, pool.map(work, range(4)))
        pool.close()
        pool.join()
    stop, busy = [], lambda: [work(1) for _ in range(100) if not stop]
    threads = [threading.Thread(target=busy) for _ in range(2)]
    [thread.start() for thread in threads]
    print([fork(n) for n in range(5)])
    with concurrent.futures.ThreadPoolExecutor(3) as several:
        print([done.stdout for done in several.map(lambda n: subprocess.run(["seq", str(n)], stdout=-1), range(1, 5))])
    stop.append(1)
    [thread.join() for thread in threads]
"""
NGINX = """
worker_processes 2;
pid nginx.pid;
error_log stderr;
events { worker_connections 128; }
http {
    access_log off;
    client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
    server { listen unix:FOLDER/socket; root DOCS; autoindex on; gzip on; gzip_types *; gzip_min_length 1; }
}
"""
APACHE = """
ServerRoot "/usr/lib/apache2"
ServerName localhost
DefaultRuntimeDir FOLDER
Mutex file:FOLDER
PidFile FOLDER/httpd.pid
ErrorLog FOLDER/error.log
Listen 127.0.0.1:PORT
LoadModule mpm_prefork_module modules/mod_mpm_prefork.so
LoadModule authz_core_module modules/mod_authz_core.so
LoadModule dir_module modules/mod_dir.so
LoadModule autoindex_module modules/mod_autoindex.so
LoadModule deflate_module modules/mod_deflate.so
LoadModule filter_module modules/mod_filter.so
StartServers 3
MinSpareServers 2
MaxSpareServers 4
MaxRequestWorkers 8
MaxConnectionsPerChild 8
DocumentRoot DOCS
SetOutputFilter DEFLATE
<Directory DOCS>
    Options +Indexes
    IndexOptions SuppressLastModified
    Require all granted
</Directory>
"""


def hash_of(data):
    return hashlib.sha256(data).hexdigest()[:16]


class RecordedProgramsTest(ProgramsTest):
    def test_bash(self):
        script = BASH.replace("ROUNDS", "20" if FULL else "3")
        self.both("bash", lambda way: way.run("bash", "-c", script), 10000, least_processes=15)

    def test_git(self):
        def scenario(way):
            env = {**tasks.GIT_ENVIRONMENT, "HOME": str(way.folder)}
            for folder in ("traces", "harness", "tests") if FULL else ("traces",):
                shutil.copytree(TOP / folder, way.folder / "origin" / folder, ignore=shutil.ignore_patterns("__pycache__"))
            way.tool("git", "init", "-q", "-b", "main", "origin", env=env)
            for message in ("first", "second"):
                (way.folder / "origin/file").write_text(message * 1000)
                way.tool("git", "-C", "origin", "add", ".", env=env)
                way.tool("git", "-C", "origin", "commit", "-q", "-m", message, env=env)
            done = way.run("sh", "-ec", "git clone -q file://$PWD/origin clone; cd clone; git repack -q -a -d -f --threads=2;"
                                        "git fsck --full; git gc -q; git log --stat | cat", env=env)
            return *done, way.tool("git", "-C", "clone", "rev-list", "--objects", "--all", env=env)

        self.both("git", scenario, 20000, least_threads=2, least_processes=10)

    def test_make(self):
        def scenario(way):
            if FULL:
                done = way.run("make", "-s", "-j2", "-C", TOP, f"BUILD={way.folder}/build", f"{way.folder}/build/alloclab")
                return done[0], done[2].replace(str(way.folder), ""), (way.folder / "build/alloclab").exists()
            names = ("lines", "address_map", "meta", "unpack")
            rule = f"%.o: {TOP}/traces/%.c\n\tgcc -std=c11 -D_GNU_SOURCE -O1 -I{TOP} -frandom-seed=1 -c -o $@ $<\n"
            objects = " ".join(f"{name}.o" for name in names)
            (way.folder / "Makefile").write_text(f"all: lib.a\nlib.a: {objects}\n\tar rcsD $@ $^\n{rule}")
            return *way.run("make", "-j2"), hash_of((way.folder / "lib.a").read_bytes())

        self.both("make", scenario, 300000, least_processes=13)

    @needs("redis-server", "redis-server")
    def test_redis(self):
        def scenario(way):
            path = way.folder / "socket"
            server = way.start(*tasks.redis_server(path, way.folder), "--io-threads", "2", "--io-threads-do-reads", "yes",
                               "--enable-debug-command", "yes", "--daemonize", "no")
            cli = ["redis-cli", "-s", path]
            try:
                way.wait_for(path.exists, "redis-server made no socket", server)
                way.tool(*tasks.redis_benchmark(path, 40000 if FULL else 600), "-P", "16")
                way.tool(*cli, "flushall")
                way.tool(*cli, input="".join(f"set key:{i} {'v' * (i * 37 % 900)}\nrpush list {i * 7919 % 1009}\n"
                                             for i in range(300)).encode())
                answer = [way.tool(*cli, *words) for words in (["debug", "digest"], ["bgsave"], ["sort", "list", "limit", "0", "9"])]
            finally:
                way.tool(*cli, "shutdown", "nosave")
                status = way.finish(server)[0]
            return status, answer

        self.both("redis", scenario, 20000, least_threads=3)

    def load(self, way, fetch, paths):
        """Asks for each path many times, from several threads; what came, by path."""
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            got = list(pool.map(lambda path: (path, hash_of(fetch(path))), paths * (60 if FULL else 10)))
        return sorted(set(got))

    def documents(self, way):
        docs = way.folder / "docs"
        docs.mkdir()
        for name in ("README.md", "Makefile", "docs/measuring.md"):
            shutil.copy(TOP / name, docs)
        (docs / "many").mkdir()
        for n in range(200):
            (docs / "many" / f"file {n}").write_text("x" * n)
            os.utime(docs / "many" / f"file {n}", (1600000000, 1600000000))
        return docs

    @needs("nginx", "nginx-light")
    @needs("curl", "curl")
    def test_nginx(self):
        def scenario(way):
            config = NGINX.replace("FOLDER", str(way.folder)).replace("DOCS", str(self.documents(way)))
            (way.folder / "nginx.conf").write_text(config)
            server = way.start("nginx", "-p", f"{way.folder}/", "-c", "nginx.conf", "-g", "daemon off;")

            def fetch(path):
                return way.tool("curl", "-sf", "--compressed", "--unix-socket", way.folder / "socket", f"http://x/{path}")

            try:
                way.wait_for((way.folder / "nginx.pid").exists, "nginx has not started", server)
                answers = self.load(way, fetch, ["README.md", "Makefile", "measuring.md", "many/"])
                pid = int((way.folder / "nginx.pid").read_text())
                os.kill(pid, signal.SIGHUP)  # new workers
                answers += self.load(way, fetch, ["README.md", "many/"])
            finally:
                way.tool("nginx", "-p", f"{way.folder}/", "-c", "nginx.conf", "-s", "quit", stderr=-3)
                status = way.finish(server)[0]
            return status, answers

        self.both("nginx", scenario, 5000, least_processes=5)

    @needs("apache2", "apache2-bin")
    @needs("curl", "curl")
    def test_apache_prefork(self):
        def scenario(way):
            with socket.create_server(("127.0.0.1", 0)) as probe:
                port = probe.getsockname()[1]
            config = APACHE.replace("FOLDER", str(way.folder)).replace("PORT", str(port))
            (way.folder / "httpd.conf").write_text(config.replace("DOCS", str(self.documents(way))))
            server = way.start("apache2", "-d", way.folder, "-f", way.folder / "httpd.conf", "-D", "FOREGROUND")

            def fetch(path):
                return way.tool("curl", "-sf", "--compressed", f"http://127.0.0.1:{port}/{path}")

            try:
                way.wait_for((way.folder / "httpd.pid").exists, "apache2 has not started", server)
                answers = self.load(way, fetch, ["README.md", "Makefile", "measuring.md", "many/"])
            finally:
                server_pid = int((way.folder / "httpd.pid").read_text())
                os.kill(server_pid, signal.SIGTERM)
                status = way.finish(server)[0]
            return status, answers

        self.both("apache", scenario, 500, least_processes=5)

    @needs("node", "nodejs")
    def test_node(self):
        def scenario(way):
            (way.folder / "work.js").write_text(NODE.replace("ROUNDS", "200000" if FULL else "5000"))
            return way.run("node", "work.js")

        self.both("node", scenario, 50000, least_threads=8, least_processes=2)

    def test_python(self):
        def scenario(way):
            environment, words = tasks.python(10 if FULL else 1)
            return way.run("/usr/bin/python3", *words[1:], env=environment)

        self.both("python3", scenario, 200000, least_threads=5)

    def test_python_processes(self):
        def scenario(way):
            (way.folder / "work.py").write_text(PROCESSES.replace("SIZE", "2000" if FULL else "200"))
            return way.run("/usr/bin/python3", "work.py")

        self.both("processes", scenario, 50000, least_threads=4, least_processes=16)

    @needs("php", "php-cli")
    def test_php(self):
        """Its extensions are loaded with RTLD_DEEPBIND; they free at the end what others made."""
        def scenario(way):
            (way.folder / "work.php").write_text(PHP.replace("ROUNDS", "200000" if FULL else "5000"))
            return way.run("php", "work.php", env={"USE_ZEND_ALLOC": "0"})

        self.both("php", scenario, 100000 if FULL else 10000)

    @needs("sqlite3", "sqlite3")
    def test_sqlite(self):
        def scenario(way):
            (way.folder / "script").write_text("drop table if exists item;\n".join(["", *[tasks.SQL_SCRIPT] * (8 if FULL else 1)]))
            return *way.run("sqlite3", "items.db", ".read script"), hash_of((way.folder / "items.db").read_bytes())

        self.both("sqlite3", scenario, 40000)

    @needs("ffmpeg", "ffmpeg")
    def test_ffmpeg(self):
        def scenario(way):
            source = f"testsrc=duration={20 if FULL else 1}:size=320x240:rate=25"
            return *way.run("ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-vf", "scale=160:120,hue=s=0", "-threads", "3",
                            "-c:v", "mpeg4", "-flags", "+bitexact", "-fflags", "+bitexact", "made.avi"), \
                hash_of((way.folder / "made.avi").read_bytes())

        self.both("ffmpeg", scenario, 5000, least_threads=3)

    @needs("convert", "imagemagick")
    def test_imagemagick(self):
        def scenario(way):
            size = "1600x1200" if FULL else "320x240"
            return *way.run("/usr/bin/convert", "-size", size, "gradient:red-blue", "-swirl", "90", "-blur", "0x3", "-resize", "50%",
                            "-strip", "-define", "png:exclude-chunks=date,time", "made.png"), \
                hash_of((way.folder / "made.png").read_bytes())

        self.both("imagemagick", scenario, 2000)

    def on_screen(self, way, scenario):
        """scenario(display) with an X server of its own."""
        ends = os.pipe()
        with open(way.folder / "Xvfb.log", "wb") as log:
            server = subprocess.Popen(["Xvfb", "-displayfd", str(ends[1]), "-screen", "0", "800x600x24", "-nolisten", "tcp"],
                                      pass_fds=[ends[1]], stderr=log)
        os.close(ends[1])
        try:
            with os.fdopen(ends[0]) as number:
                display = f":{number.readline().strip()}"
            return scenario(display)
        finally:
            server.terminate()
            server.wait()

    @needs("Xvfb", "xvfb")
    @needs("xterm", "xterm")
    def test_xterm(self):
        command = f"seq {30000 if FULL else 3000}; tput cols; echo done > done"

        def scenario(way):
            def show(display):
                return *way.run("xterm", "-e", "sh", "-c", command, env={"DISPLAY": display}), (way.folder / "done").read_text()

            return self.on_screen(way, show)

        self.both("xterm", scenario, 5000, least_processes=2)

    @needs("Xvfb", "xvfb")
    @needs("xdotool", "xdotool")
    @needs("mousepad", "mousepad")
    def test_mousepad(self):
        def scenario(way):
            text = way.folder / "text"
            text.write_text("a first line\n")

            def show(display):
                env = {"DISPLAY": display, "HOME": str(way.folder), "GSETTINGS_BACKEND": "memory", "NO_AT_BRIDGE": "1",
                       "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere"}
                editor = way.start("mousepad", "--disable-server", "text", env=env)
                keys = ["xdotool", "search", "--sync", "--onlyvisible", "--name", "Mousepad"]
                way.tool(*keys, "windowfocus", "--sync", env=env)
                way.tool(*keys, "type", "--delay", "2", "typed " * (200 if FULL else 10), env=env)
                way.tool(*keys, "key", "ctrl+s", env=env)
                way.wait_for(lambda: text.read_text().startswith("typed"), "nothing was saved", editor)
                way.tool(*keys, "key", "ctrl+q", env=env)
                return way.finish(editor)[0], text.read_text()

            return self.on_screen(way, show)

        self.both("mousepad", scenario, 50000, least_threads=2)


if __name__ == "__main__":
    unittest.main()
