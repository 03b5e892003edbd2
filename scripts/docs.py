#!/usr/bin/python3
"""docs.py [--check | --pictures] - writes the documents that are made from the source: docs/metrics.md from the table
of metrics, and docs/handbook/ from the allocators' header comments, promises and options, as `alloclab describe` prints
them. --check fails if a page differs from what would be written; --pictures also draws each design's heap map and
the README's picture, by replaying and calling plots/.

ALLOCLAB names the binary (default ./alloclab).
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

ALLOCLAB = os.environ.get("ALLOCLAB", "./alloclab")
HANDBOOK = "docs/handbook"

# What the heap maps show: designs with scopes serve requests that end out of order, all others a program in phases.
PHASES = "phasechange:allocs=5k,live=1500"
SCOPES = "request:requests=200"

# The README's picture: memory over time.
README = "freelist,buddy,tlsf,halffit,segfit,hugepack,slab,hoard,lockfree", "traces/samples/redis.trace"

METRICS = """# Columns of results.csv

Made by `make docs` from the table in harness/metrics.h; `alloclab list metrics` prints the same. What was not
measured is empty, never 0. *how*: id says which cell the row is of, row which of the cell's rows it is and what became
of it; exact is the same on every run and machine; repeats is the same on every run of one build with one seed, but not of
another compiler's or C library's; sampled is looked at now and then; timed depends on the machine and
its noise. L live requested, U live usable, M metadata, C committed, V reserved, R resident bytes. Fragmentation ratios
use points where L is at least 1 MiB and at least 1 % of its maximum; elsewhere they would mean nothing, and the column
is empty. Columns based on C are empty where memory does not come through the door (libc and rivals under it).

    name, unit, better, how, definition
"""

INDEX = """# Handbook of allocators

One page a design, made by `make docs` from the header comment, the promises and the options of its file, so that a page
cannot say what the source does not; `alloclab describe NAME` prints the same. The heap maps are drawn by `make handbook`.

| design | what it is | source | threads | worst case |
|---|---|---|---|---|
"""


def output(*arguments):
    return subprocess.run([ALLOCLAB, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def sections(text):
    """What `describe` prints: the summary, and the text under each heading."""
    head, *parts = re.split(r"\n\n(Source|Traits|Provides|Leaves to the caller|Options|Manual)\n", text)
    found = dict(zip(parts[::2], parts[1::2]))
    return head.split(": ", 1)[1], {name: body.strip("\n") for name, body in found.items()}


def design_names():
    return [line.split()[0] for line in output("list", "allocators").splitlines()]


def picture_of(name, found):
    """The picture's file and workload, or None where the door does not see the design's memory."""
    if re.search("not come through the door|does not manage", found["Traits"]):
        return None
    return f"{name}.png", SCOPES if "scopes" in found["Provides"].split("\n")[0].replace(",", "").split() else PHASES


def page_of(name):
    summary, found = sections(output("describe", name))
    lines = [f"# {name}", "", summary[0].upper() + summary[1:] + ".", "", f"Source: {' '.join(found['Source'].split())}",
             "", f"*Made by `make docs` from allocators/{name}.c.*", ""]
    picture = picture_of(name, found)
    if picture:
        lines += [f"![heap map of {name}]({picture[0]})", "",
                  f"Heap map: `alloclab run -a {name} -w {picture[1]} --passes memory --seed 1 -o DIR; make figures DIR=DIR`", ""]
    lines += ["## Promises", ""] + [f"- {line.strip()}" for line in found["Traits"].split("\n")] + [""]
    for title in ("Provides", "Leaves to the caller"):
        if title in found:
            lines += [f"{title}: {' '.join(found[title].split())}.", ""]
    if "Options" in found:
        lines += ["## Options", "", "```text", found["Options"], "```", ""]
    lines += ["## Manual", "", "```text", found["Manual"], "```"]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def index_row(name):
    summary, found = sections(output("describe", name))
    threads = ("shared, freed by any" if "any thread may free" in found["Traits"] else
               "shared" if "many threads at once" in found["Traits"] else "one")
    worst = "bounded" if "bounded worst case" in found["Traits"] else ""
    return f"| [{name}]({name}.md) | {summary} | {' '.join(found['Source'].split())} | {threads} | {worst} |\n"


def documents():
    """Every generated page and its text."""
    metrics = METRICS + "".join(f"  {line}\n" for line in output("list", "metrics").splitlines())
    pages = {"docs/metrics.md": metrics}
    names = design_names()
    pages[f"{HANDBOOK}/README.md"] = INDEX + "".join(index_row(name) for name in names)
    for name in names:
        pages[f"{HANDBOOK}/{name}.md"] = page_of(name)
    return pages


def strangers(pages):
    """Pages of the handbook whose design is gone."""
    return sorted(set(glob.glob(f"{HANDBOOK}/*.md")) - set(pages))


def check(pages):
    bad = [f"{path} does not exist: run make docs" for path in pages if not os.path.exists(path)]
    for path, text in pages.items():
        if os.path.exists(path):
            with open(path, encoding="utf-8") as page:
                if page.read() != text:
                    bad.append(f"{path} differs from the source: run make docs")
    bad += [f"{path} is about no allocator: run make docs" for path in strangers(pages)]
    bad += [f"{HANDBOOK}/{name} is missing: run make handbook" for name in missing_pictures(pages)]
    for line in bad:
        print(f"docs: {line}", file=sys.stderr)
    return 1 if bad else 0


def missing_pictures(pages):
    wanted = re.findall(r"\]\((\w+\.png)\)", "".join(pages.values()))
    return [name for name in wanted if not os.path.exists(f"{HANDBOOK}/{name}")]


def write(pages):
    os.makedirs(HANDBOOK, exist_ok=True)
    for path, text in pages.items():
        with open(path + ".new", "w", encoding="utf-8") as page:
            page.write(text)
        os.replace(path + ".new", path)
    for path in strangers(pages):
        os.remove(path)


def draw(figure, picture, allocators, workload):
    """Replays the workload for its memory, and draws it: the one picture that there is then."""
    print(f"drawing {picture}")
    with tempfile.TemporaryDirectory() as folder:
        results = os.path.join(folder, "results")
        subprocess.run([ALLOCLAB, "run", "-a", allocators, "-w", workload, "--passes", "memory", "--seed", "1", "-o", results],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run([sys.executable, f"plots/{figure}.py", results], check=True, stdout=subprocess.DEVNULL)
        drawn, = glob.glob(os.path.join(results, f"{figure}-*.png"))
        shutil.copy(drawn, picture)


def draw_all():
    draw("memory", "docs/memory.png", *README)
    for name in design_names():
        picture = picture_of(name, sections(output("describe", name))[1])
        if picture:
            draw("heapmap", f"{HANDBOOK}/{picture[0]}", name, picture[1])


def main(arguments):
    if arguments not in ([], ["--check"], ["--pictures"]):
        print("docs.py: use no argument, --check or --pictures", file=sys.stderr)
        return 2
    pages = documents()
    if arguments == ["--check"]:
        return check(pages)
    write(pages)
    if arguments == ["--pictures"]:
        draw_all()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
