"""Best-of-n, votes and tree search over the steps of solutions: plain Python, handed what samples and scores."""
