"""The commands, one file each: `get_parser()` and `main(args, prog)`."""
