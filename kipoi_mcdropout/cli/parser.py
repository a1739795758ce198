"""The parser of every command, with the same groups of options in the same order."""

from __future__ import annotations

import argparse
from typing import Any

from kipoi_mcdropout.cli.file_arguments import check_files
from kipoi_mcdropout.cli.messages import add_message_arguments, set_level
from kipoi_mcdropout.cli.model_arguments import MODEL_FLAGS
from kipoi_mcdropout.cli.readout_arguments import READOUT_FLAGS
from kipoi_mcdropout.files.standard_output import results

# Group of the help: names of the options that stand in it, with all commands taken together.
GROUPS = {
    "input": (
        "input_vcf", "variants", "input_format", "columns", "fasta_file", "regions", "sequences", "edge",
        "use_strand", "dataloader", "dataloader_source", "dataloader_args", "region", "contig_map",
        "peaks", "blacklist", "chroms", "exclude_chroms", "measured", "background", "annotation",
    ),
    "model": (
        *MODEL_FLAGS, "output_sel_fn", *READOUT_FLAGS, "target", "exposure", "outcome", "beside",
    ),
    "dropout": ("n_draws", "until", "threshold", "mask_scope"),
    "effects": (
        "imp_score", "imp_score_kwargs", "scores", "score", "score_kwargs", "pseudocount", "start",
        "end", "n_effects", "per_window", "sample_seed", "from_regions", "for_variants", "test_ref_ref",
        "rc", "strand_pairs", "shifts", "indel_alignment", "phased", "share_windows", "normalize",
        "ref_mismatch", "quantiles", "q_values",
    ),
    "statistics": (
        "se_type", "methods", "across_method", "meta_method", "hartung_knapp", "convention",
        "n_bootstrap", "seed", "align", "sd", "sd_scale", "leave_out", "level", "bins", "conformal",
        "tolerance", "min_z", "sequence", "rank_by", "top", "n_regions", "label", "coverage",
        "min_measured", "cluster", "block_bp",
    ),
    "output": (
        "output", "kipoi", "output_vcf", "table", "skipped", "leave_one_out", "across_sequences",
        "save_instruments", "multivariable", "scaled", "plot", "conformal_output", "keep_draws",
        "member_means", "vcf_target", "vcf_statistics", "info_prefix", "no_plan", "title", "sample",
        "no_figures", "width_mm", "dpi", "labels", "bed3", "modisco", "formats", "full_colour",
        "overwrite", "remove",
    ),
    "running": (
        "batch_size", "num_workers", "engine", "memory", "no_verify", "scheduler", "shard", "resume",
        "on_error", "strict", "quiet", "verbose",
    ),
}  # fmt: skip


class Parser(argparse.ArgumentParser):
    """Parses the words of a command.

    An option is put into its group of `GROUPS` by its name, wherever it is added. The usage line names
    what is required. The help keeps the layout of the description and of the example.
    """

    def __init__(self, prog: str, description: str, example: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=f"example:\n  {example}",
            formatter_class=_Help,
            allow_abbrev=False,
        )
        self._groups = {title: self.add_argument_group(title) for title in GROUPS}
        add_message_arguments(self._groups["running"])

    def group(self, title: str) -> argparse._ArgumentGroup:
        """A group of `GROUPS`."""
        return self._groups[title]

    def add_argument(self, *names: Any, **how: Any) -> argparse.Action:
        """See argparse; an option of `GROUPS` goes into its group."""
        longest = max(names, key=len, default="").lstrip("-")
        name = how.get("dest") or longest
        for title, members in GROUPS.items():
            if name in members and str(names[0]).startswith("-"):
                return self._groups[title].add_argument(*names, **how)
        return super().add_argument(*names, **how)

    def print_help(self, file: Any = None) -> None:
        """See argparse; help goes to standard output, like results."""
        super().print_help(results() if file is None else file)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """See argparse; an output that is also an input, or another output, is refused."""
        options = super().parse_args(args, namespace)
        check_files(options)
        return options

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """See argparse; also sets the level of messages (--quiet, --verbose)."""
        options, rest = super().parse_known_args(args, namespace)
        set_level(options)
        return options, rest


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help whose usage line has only required arguments; all options follow below it."""

    def add_usage(
        self, usage: str | None, actions: Any, _groups: Any, prefix: str | None = None
    ) -> None:
        """See argparse."""
        positional = [action for action in actions if not action.option_strings]
        required = [action for action in actions if action.option_strings and action.required]
        super().add_usage(usage, [*positional, *required], [], prefix)

    def _format_usage(self, _usage: Any, actions: Any, _groups: Any, prefix: Any) -> str:
        """See argparse, which puts options first: `-o FILE [FILE ...] MODEL` would take the model."""
        prog = " ".join([self._prog, *(self._word(action) for action in actions), "[option ...]"])
        return super()._format_usage(prog, (), (), prefix)

    def _word(self, action: argparse.Action) -> str:
        """How an argument is written, e.g. `-o FILE [FILE ...]`."""
        name = self._get_default_metavar_for_positional(action)
        if action.option_strings:
            name = self._get_default_metavar_for_optional(action)
            return f"{action.option_strings[0]} {self._format_args(action, name)}"
        return self._format_args(action, name)
