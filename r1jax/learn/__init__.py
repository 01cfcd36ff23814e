"""How a policy learns: log-probs in blocks, losses, advantages, optimisers, the train state and the pure
steps.

Reading order: logprobs, segments, policy_losses, score_losses, advantages, kl, optimizer, state, steps, jit.
"""
