"""Claims of a paper held against runs: written down beforehand, measured on several seeds, judged by rule."""
