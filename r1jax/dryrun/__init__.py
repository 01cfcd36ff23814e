"""What a run would do and need, said without doing it: `page.describe` is behind `run.py --dry_run`."""
