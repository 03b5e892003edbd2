"""objects.py - rows of small objects, as JSON and back, searched and indexed, over and over: some 23 million calls with
PYTHONMALLOC=malloc."""
import json
import random
import re
import zlib

rng = random.Random(1)
word = re.compile(r"row (\d+) of (\d+)")
total = 0
for block in range(13):
    rows = [{"id": i, "name": f"row {i} of {block}", "tags": [str(rng.randrange(1000)) for _ in range(6)], "at": (i * 1.5, -i)}
            for i in range(9000)]
    text = json.dumps(rows)
    total += zlib.crc32(text.encode()) & 1
    index = {}
    for row in json.loads(text):
        found = word.match(row["name"])
        total += int(found.group(1)) * int(found.group(2)) % 7
        for tag in row["tags"]:
            index.setdefault(tag, []).append(row["name"].upper())
    total += sum(len(set(names)) for names in index.values())
    total += sum(zlib.adler32(name.encode()) & 1 for names in index.values() for name in sorted(names))
print(total)
