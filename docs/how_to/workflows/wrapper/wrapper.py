"""Snakemake wrapper of `mcdropout score_variants`, with a summary for MultiQC where one is asked for."""

from snakemake.shell import shell

job = snakemake  # noqa: F821 (Snakemake puts it here)
extra = job.params.get("extra", "")
flags = {"vcf": "-o", "table": "-t", "skipped": "--skipped"}
given = {flag: job.output.get(name) for name, flag in flags.items()}
outputs = " ".join(f"{flag} {path}" for flag, path in given.items() if path)
log = job.log_fmt_shell(stdout=False, stderr=True)
more_log = job.log_fmt_shell(stdout=False, stderr=True, append=True)

shell(
    "OMP_NUM_THREADS={job.threads} mcdropout score_variants {job.params.model}"
    " -i {job.input.vcf} -f {job.input.fasta} {extra} {outputs} {log}"
)
if job.output.get("multiqc"):
    shell("mcdropout multiqc {job.output.table} -o {job.output.multiqc} {more_log}")
