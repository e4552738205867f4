#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Does the manual say what the programs know?

check_manual.py options PAGE            --help on stdin: each option is in the page
check_manual.py settings PAGE           --print-config on stdin: each key, its default
check_manual.py journal PAGE SOURCE     the names and numbers of the journal's headers

What is missing goes to stdout; exit status 1 then.
"""

import re
import sys

problems = []


def missing(text):
    problems.append(text)


def plain(mdoc):
    """The words of a piece of mdoc."""
    words = re.sub(r"^\.(?!\\)\w+ ?", "", mdoc, flags=re.M)
    words = re.sub(r"\b(Ic|Qq|Ql|Pq|Cm|Pa|Fl|No|Ar|Li|Ns|Dv) ", "", words)
    return words.replace("\\(mi", "-").replace("\\&", "").replace("\n", " ")


def options(page):
    known = set(re.findall(r"Fl (-?[A-Za-z][a-z-]*)", page))
    # In the text a worker's option stands with its program's name.
    known |= {"-" + word for word in re.findall(r"[ (]--([a-z-]+)", page)}
    for option in re.findall(r"(?:^|[\s,\[|(])-(-?[A-Za-z][a-z-]*)", sys.stdin.read()):
        if option not in known:
            missing(f"option -{option}")


def items(page):
    """(section, key): its text, for each .It of the settings."""
    found = {}
    section, keys = None, []
    for line in page.split("\n"):
        if line.startswith((".Ss ", ".Sh ")):
            section, keys = line[4:].strip('"'), []
        elif line.startswith(".It Ic "):
            keys = [word for word in line[4:].replace("Ic", "").split() if word != ","]
            for key in keys:
                found.setdefault((section, key), "")
        else:
            for key in keys:
                found[section, key] += line + "\n"
    return found


def settings(page):
    known = items(page)
    section = "Top level"
    seen = set()
    for line in sys.stdin.read().split("\n"):
        opened = re.match(r"(\w+) = [({]$", line)
        if opened:
            section = opened[1]
        setting = re.match(r"\s*(?:# )?(\w+) (?:= (.*);|is (not set))$", line)
        if not setting:
            if line in ("};", ");"):
                section = "Top level"
            continue
        key, value = setting[1], setting[2]
        seen.add(key)
        text = known.get((section, key))
        if text is None:
            missing(f"{section}: {key}")
            continue
        text = plain(text)
        if "Required." in text:
            continue
        default = re.split(r"Default: |Not set by default", text)[1:]
        if not default:
            missing(f"{section}: the default of {key}")
            continue
        words = [word.strip("[]() ") for word in re.findall(r'"[^"]*"|[^",\s]+', value or "none")]
        for word in (word.strip('"') for word in words):
            like = {"": "none|empty", "none": "none|librdkafka|Not set|default"}.get(word)
            if like is None:
                like = re.escape(word).replace("site\\-17", " *and the gateway id")
                like = like.replace("/usr/local/var", "/var") + "|the whole host name" * (
                    key == "gateway_id")
            if not re.search(like, " ".join(default) + (" default" if value is None else "")):
                missing(f"{section}: {key} is {word} by default")
    if len(seen) < 50:
        missing(f"only {len(seen)} settings were looked at")


def read(source, path):
    with open(f"{source}/{path}", encoding="utf-8") as file:
        return file.read()


def journal(page, source):
    header = read(source, "include/journal.h")
    store = read(source, "src/journal/store_open.c")
    databases = re.findall(r"\[STORE_\w+\] = \"(\w+)\"", store)
    meta = re.findall(r'^ \* +"([a-z_]+/?)(?:ROUTE)?"', header, flags=re.M)
    batch = re.findall(r"^ \*   (\d+) +(\d+|\.\.\.) ", read(source, "include/batch.h"), flags=re.M)
    record = re.findall(r"^ \*   (\d+) +(uint|bin|true|array) ", read(source, "include/record.h"),
                        flags=re.M)
    enums = re.findall(r"JOURNAL_(?:GAP|ORDER)_(\w+) =\s+(\d+),", header)
    counts = [len(found) for found in (databases, meta, batch, record, enums)]
    if len(databases) < 6 or len(meta) < 15 or len(batch) < 11 or len(record) < 14 or \
       len(enums) < 10:
        missing(f"the headers, which are not understood any more: {counts}")
    for name in databases + meta:
        if not re.search(rf"^\.It Ic {name}( Ns Ar route)?$", page, flags=re.M):
            missing(f"name {name}")
    for used in re.findall(r'journal_meta_(?:get|put)\w*\(\w+, "(\w+)"', "".join(
            read(source, f"src/journal/{name}.c")
            for name in ("journal", "journal_meta", "journal_gaps", "journal_orders"))):
        if used not in meta:
            missing(f"{used} in include/journal.h")
    for offset, size in batch:
        size = "" if size == "..." else f"{size} "
        if f"\n.It {offset} Ta {size}Ta " not in page:
            missing(f"the batch's field at {offset}, {size}bytes")
    for key, kind in record:
        kind = kind.replace("true", "bool")
        if f"\n.It {key} Ta {kind} Ta " not in page:
            missing(f"the record's key {key}, {kind}")
    for name, number in enums:
        word = {"DROP_OLDEST": "drop the oldest"}.get(name, name.split("_")[0].lower())
        if not re.search(rf"\b{number} {word}", page.replace("\n", " ")):
            missing(f"{number} {word}")
    for name, text in (("BATCH_HEADER_BYTES", "of {} bytes"), ("JOURNAL_GAPS_MAX", "The {} with"),
                       ("MAX_DATABASES", "room for {} databases")):
        number = re.search(rf"#define {name} +(\d+)", header + store + read(
            source, "include/batch.h"))[1]
        if text.format(number) not in page:
            missing(text.format(number))


def main():
    what, path = sys.argv[1:3]
    with open(path, encoding="utf-8") as file:
        page = file.read()
    {"options": options, "settings": settings, "journal": journal}[what](page, *sys.argv[3:])
    for problem in problems:
        print(f"{path.split('/')[-1]} does not say: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
