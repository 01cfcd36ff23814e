"""A model as the grader: answers against a reference (a reward), and one answer against another (votes).

Reading order: `prompts` (what the judge is shown, and what keeps a completion from talking to it), `ask` (who
judges: an endpoint, or a model of ours), `judgement` (correct or not), `reward`, `votes`. docs/judge.md has the use.
"""
