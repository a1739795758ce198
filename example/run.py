"""The main job on the embedded example: in-silico mutagenesis with uncertainty, by stock `kipoi`.

python3 example/run.py

Sets up `.venv` on the first call (a few minutes, mostly download), then runs the command printed
below. Further arguments are added to the command, e.g. `--n_draws 100`.
"""

from __future__ import annotations

import json
import sys

from environment import BIN, ROOT, run, set_up

OUTPUT = "example/output"
DATALOADER_ARGS = {
    "fasta_file": "example/data/genome.fa",
    "intervals_file": "example/data/regions.bed",
}
COMMAND = [
    *[str(BIN / "kipoi"), "interpret", "ism", "example/model", "--source", "dir"],
    *["--dataloader_args", json.dumps(DATALOADER_ARGS)],
    *["--model_input", "seq"],
    *["--method", "mcdropout_ism", "--n_draws", "30", "--seed", "0"],
    *["-o", f"{OUTPUT}/ism.h5", f"{OUTPUT}/ism.tsv", f"{OUTPUT}/ism.parquet", "--overwrite"],
]


def main() -> None:
    """Set up, then run the command."""
    set_up()
    folder = ROOT / OUTPUT
    folder.mkdir(exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    run([*COMMAND, *sys.argv[1:]])
    for path in sorted(folder.glob("ism.*")):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
