#!/bin/bash
# Make gpu-bundle/site.tar.xz: spaCy and what it needs, for a GPU machine that has torch,
# transformers and numpy but neither spaCy nor a network (x86-64 Linux, Python 3.12).
#
#     bash benchmarks/gpu/bundle.sh            # here; PYTHON=... picks the interpreter
#     mkdir -p /tmp/site && tar -xJf gpu-bundle/site.tar.xz -C /tmp/site      # there
#     PYTHONPATH=/tmp/site:$PWD python3 ...    # there, in the repository's root
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
out=$root/gpu-bundle
python=${PYTHON:-python3}
limit=16000000  # bytes; weights and data travel too
# What the machine has of spaCy's needs (typing-extensions it has too, but an unknown version,
# and pydantic asks for a late one: ours comes first on the path)
there="annotated-doc anyio certifi charset-normalizer click colorama h11 httpcore httpx idna
jinja2 markdown-it-py markupsafe mdurl numpy packaging pygments requests rich setuptools
shellingham tqdm typer urllib3 wrapt zipp"
languages="en zh xx"  # and what spaCy itself imports

command -v strip >/dev/null || { echo "bundle.sh needs strip (binutils)" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/wheels" "$work/site"

# numpy is the machine's, so that nothing is chosen that refuses it
"$python" -m pip download --quiet --disable-pip-version-check --only-binary=:all: \
    --python-version 3.12 --implementation cp \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
    --platform manylinux2014_x86_64 --dest "$work/wheels" \
    spacy==3.8.18 thinc==8.3.14 numpy==2.5.2

"$python" - "$root" "$work" "$there" "$languages" <<'PYTHON'
import configparser
import email
import re
import shutil
import sys
import zipfile
from pathlib import Path

root, work = map(Path, sys.argv[1:3])
there, languages = (set(words.split()) for words in sys.argv[3:])
site = work / "site"


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


for wheel in sorted((work / "wheels").glob("*.whl")):
    if normal(wheel.name.split("-")[0]) not in there:
        with zipfile.ZipFile(wheel) as file:
            file.extractall(site)
assert not list(site.glob("*.data")), "a wheel with a .data folder needs a real install"

# Every need is carried or there. The extra "http" (smart-open's, for weasel) is requests
needs, carried = {}, {}
for metadata in site.glob("*.dist-info/METADATA"):
    told = email.message_from_string(metadata.read_text(encoding="utf8"))
    carried[normal(told["Name"])] = told["Version"]
    for need in told.get_all("Requires-Dist", []):
        # markers that 3.12 on Linux never meets, and optional parts
        if not re.search(r"extra\s*==|python_version\s*<|win32|Windows", need):
            name = normal(re.match(r"[\w.-]+", need)[0])
            needs.setdefault(name, []).append(f"{told['Name']}: {need}")
for name in sorted(needs.keys() - carried.keys() - there):
    sys.exit(f"neither carried nor there: {name} ({needs[name]})")

# spaCy registers the tokenizers of a few languages whatever is used; languages import others
lang = site / "spacy" / "lang"
every = {path.parent.name for path in lang.glob("*/__init__.py")}
for path in (site / "spacy").rglob("*.py*"):
    inside = path.relative_to(site / "spacy").parts[0]
    if inside not in ("lang", "tests") and path.suffix in (".py", ".pyx"):
        text = path.read_text(encoding="utf8")
        languages |= every & set(re.findall(r"from \.+lang\.(\w+)", text))
seen = set()
while todo := languages - seen:
    seen |= todo
    for path in (path for name in todo for path in (lang / name).rglob("*.py")):
        languages |= every & set(re.findall(r"from \.\.(\w+)", path.read_text(encoding="utf8")))
for name in every - languages:
    shutil.rmtree(lang / name)

# No test, source or header is read at run time (thinc's *.cu are: cupy is there)
for path in sorted(site.rglob("tests")):
    if path.is_dir():
        shutil.rmtree(path)
for path in list(site.rglob("*")):
    if path.suffix in {".pyx", ".pxd", ".pxi", ".c", ".cc", ".cpp", ".h", ".hh", ".hpp", ".pyi"}:
        path.unlink()
for record in site.glob("*.dist-info/RECORD"):
    lines = record.read_text(encoding="utf8").splitlines(keepends=True)
    record.write_text(
        "".join(line for line in lines if (site / line.split(",")[0]).exists()), encoding="utf8"
    )

# The project is found on the path as the working tree; only its entry points must be told
cfg = configparser.ConfigParser(interpolation=None)
cfg.optionxform = str
cfg.read(root / "setup.cfg", encoding="utf8")
init = (root / "spacy_padellm" / "__init__.py").read_text(encoding="utf8")
version = re.search(r'^__version__ = "(.+)"', init, re.M)[1]
own = site / f"spacy_padellm-{version}.dist-info"
own.mkdir()
(own / "METADATA").write_text(
    f"Metadata-Version: 2.1\nName: {cfg['metadata']['name']}\nVersion: {version}\n"
    f"Summary: {cfg['metadata']['description']}\n",
    encoding="utf8",
)
(own / "entry_points.txt").write_text(
    "".join(f"[{group}]\n{told.strip()}\n\n" for group, told in cfg["options.entry_points"].items()),
    encoding="utf8",
)
print(*(f"{name}=={carried[name]}" for name in sorted(carried)), sep="\n")
print("languages:", *sorted(languages))
PYTHON

find "$work/site" -name '*.so' -exec strip --strip-unneeded {} +
find "$work/site" -type d -empty -delete
# The same input gives the same archive
tar -C "$work/site" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@946684800 \
    --mode=u+rwX,go+rX -cf "$work/site.tar" .
xz -9e "$work/site.tar"

size=$(stat -c %s "$work/site.tar.xz")
if [ "$size" -gt "$limit" ]; then
    echo "site.tar.xz has $size bytes, more than $limit" >&2
    exit 1
fi
mkdir -p "$out"
echo '*' >"$out/.gitignore"  # nothing in it is ever committed
mv "$work/site.tar.xz" "$out/site.tar.xz"
echo "gpu-bundle/site.tar.xz: $size bytes"
