"""The real program `kipoi`, in a shell: what reaches standard output, closed streams, the exit codes."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from toy import make_toy

KIPOI = Path(sys.executable).with_name("kipoi")
# A model and a dataloader that print, in Python and below it, when they are loaded and when they run.
LOUD = "import os\nprint('loud')\nos.write(1, b'loud\\n')\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A loud toy model with its data, and a result and measured effects for the other commands."""
    folder = tmp_path_factory.mktemp("world")
    toy = make_toy(folder)
    for name, at in (("model.py", "    def forward(self, seq):\n"), ("dataloader.py", "i):\n")):
        path = toy.model / name
        text = path.read_text().replace(at, f"{at}        print('loud'); os.write(1, b'loud\\n')\n", 1)
        path.write_text(LOUD + text)
    (folder / "args.json").write_text(json.dumps(toy.dataloader_args))
    genome = toy.fasta.read_text().splitlines()[1].upper()
    alts = {"A": "C", "C": "A", "G": "T", "T": "G"}
    records = [f"chr1\t{p}\t.\t{genome[p - 1]}\t{alts[genome[p - 1]]}\t.\t.\t.\n" for p in (12, 30)]
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    (folder / "in.vcf").write_text(f"##fileformat=VCFv4.2\n{columns}{''.join(records)}")
    (folder / "peaks.bed").write_text("chr1\t4\t8\nchr1\t28\t32\n")
    done = shell(f"kipoi mcdropout ism {ISM} --keep_draws -o effects.h5", folder)
    assert done.returncode == 0, done.stderr
    rows = [f"chr1:{p}:{genome[p - 1]}:{alts[genome[p - 1]]}\t{0.01 * p}\t0.01\n" for p in range(1, 13)]
    (folder / "measured.tsv").write_text("variant\teffect\tse\n" + "".join(rows))
    return folder


def shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash, in which `kipoi` is the program beside this Python."""
    line = f"kipoi() {{ {shlex.quote(str(KIPOI))} \"$@\"; }}; {command}"
    variables = {**os.environ, "TQDM_DISABLE": "1", **environment}
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )


MODEL = "model --source dir --dataloader_args args.json --n_draws 3"
ISM = f"{MODEL} --model_input seq"
VCF = "score_variants model --source dir -i in.vcf -f genome.fa --n_draws 3"
FIRST_WORDS = {  # of the first line of what each command writes to standard output
    f"ism {ISM} -o -": '# {"kipoi_mcdropout"',
    f"predict {MODEL} -o -": '# {"kipoi_mcdropout"',
    f"audit {MODEL.removesuffix(' --n_draws 3')}": "site",
    f"{VCF} -o -": "##fileformat",
    "mr effects.h5 --exposure FOXA1 --outcome DNase --n_bootstrap 9 -o -": '# {"kipoi_mcdropout"',
    "calibrate effects.h5 measured.tsv --target DNase -o -": '# {"kipoi_mcdropout"',
    "calibrate effects.h5 --sd_scale 2 --target DNase --scaled -": '# {"kipoi_mcdropout"',
    "evaluate effects.h5 measured.tsv --target DNase --n_bootstrap 100 -o -": '# {"kipoi_mcdropout"',
    "sample_regions -f genome.fa --peaks peaks.bed -n 2 --length 6 -o -": "chr1\t",
    "ism --help": "usage: kipoi mcdropout ism",
    "--version": "kipoi_mcdropout ",
}


@pytest.mark.parametrize("command", FIRST_WORDS)
def test_nothing_but_results_reaches_standard_output(command: str, folder: Path) -> None:
    quiet = "" if command.startswith("-") else " --quiet"
    done = shell(f"kipoi mcdropout {command}{quiet}", folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(FIRST_WORDS[command]), done.stdout[:300]
    assert "loud" not in done.stdout
    assert "\x1b" not in done.stdout
    assert "pkg_resources" not in done.stderr
    assert "INFO" not in done.stderr
    assert ("loud" in done.stderr) == ("model --source" in command), "what models print goes to stderr"


def test_kipoi_interpret_too(folder: Path) -> None:
    done = shell(f"kipoi interpret ism {ISM} --method mcdropout_ism --verbose -o -", folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('# {"kipoi_mcdropout"')
    assert "INFO" not in done.stdout
    assert "INFO" in done.stderr, "Kipoi's messages are shown to who wants them"


@pytest.mark.parametrize(
    ("command", "streams"),
    [
        (f"predict {MODEL} -o closed.tsv", "2>&-"),
        (f"ism {ISM} -o closed.tsv", "<&- >&- 2>&-"),
        (f"{VCF} -o closed.vcf", "<&- >&- 2>&-"),
    ],
)
def test_closed_streams_do_not_matter_where_files_are_written(
    command: str, streams: str, folder: Path
) -> None:
    """No file of the run gets the descriptor of a closed stream, on which models print."""
    done = shell(f"kipoi mcdropout {command} --overwrite {streams}", folder)
    assert done.returncode == 0, done.stderr
    text = (folder / command.split()[-1]).read_text()
    assert "loud" not in text
    assert len(text.splitlines()) > 4


def test_results_that_cannot_leave_are_an_error(folder: Path) -> None:
    command = f"kipoi mcdropout predict {MODEL} -o -"
    closed = shell(f"{command} >&-", folder)
    assert closed.returncode == 2
    assert "standard output is closed" in closed.stderr
    if Path("/dev/full").exists():
        full = shell(f"{command} >/dev/full", folder)
        assert full.returncode == 1
        assert "No space left on device" in full.stderr
    head = shell(f"{command} | head -c 3; exit ${{PIPESTATUS[0]}}", folder)
    assert head.returncode in (0, 141)
    assert head.stdout == "# {"
    assert "Broken" not in head.stderr
    assert "Traceback" not in head.stderr


def test_names_of_files_may_have_any_letters_in_any_locale(folder: Path) -> None:
    """With Python's own help for LANG=C switched off, as in a locale of another encoding."""
    place = folder / "é日 x"
    place.mkdir()
    for name in ("genome.fa", "regions.bed", "in.vcf"):
        (place / f"ü_{name}").write_bytes((folder / name).read_bytes())
    args = json.dumps({"fasta_file": f"{place}/ü_genome.fa", "intervals_file": f"{place}/ü_regions.bed"},
                      ensure_ascii=False)  # fmt: skip
    base = "model --source dir --n_draws 3"
    ism = f"ism {base} --model_input seq --dataloader_args '{args}' --keep_draws"
    files = "ü_genome.fa -o ü.vcf.gz -t ü.parquet --skipped ü_s.tsv"
    commands = [
        f"{ism} -o {place.name!r}/ü.h5 {place.name!r}/ü.tsv {place.name!r}/ü_e.parquet",
        f"score_variants ../{base} -i ü_in.vcf -f {files}",
        "export_mr ü.h5 --exposure FOXA1 --outcome DNase -o für_r",
        "mr ü_e.parquet --exposure FOXA1 --outcome DNase -o ü_m.tsv",
        "mr ü.tsv --exposure FOXA1 --outcome DNase -o ü_n.tsv",
    ]
    line = f"kipoi mcdropout {commands[0]} && cd {place.name!r}"
    line += "".join(f" && kipoi mcdropout {command}" for command in commands[1:])
    done = shell(line, folder, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 0, done.stderr
    made = ["ü.h5", "ü.tsv", "ü_e.parquet", "ü.vcf.gz", "ü.parquet", "ü_s.tsv", "ü_m.tsv", "ü_n.tsv"]
    assert all((place / name).stat().st_size > 0 for name in made)
    assert (place / "für_r" / "draws.parquet").is_file()


def test_a_local_folder_needs_no_source(folder: Path) -> None:
    home = folder / "home"  # where Kipoi would clone the zoo
    done = shell("kipoi mcdropout audit model", folder, HOME=str(home))
    assert done.returncode == 0, done.stderr
    assert "model is a local folder with a model.yaml, so --source dir is used" in done.stderr
    assert not (home / ".kipoi" / "models").exists()


def test_the_warning_of_pkg_resources_is_left_out_of_the_program_alone() -> None:
    """Other programs that import Kipoi keep their filters."""
    code = (
        "import sys, warnings; before = list(warnings.filters)\n"
        "{}\n"
        "new = [f for f in warnings.filters if f not in before and 'pkg_resources' in str(f[1])]\n"
        "print(len(new))"
    )
    for imported, n in (("import kipoi", "0"), ("import kipoi.__main__", "1")):
        words = [sys.executable, "-c", code.format(imported)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == n
