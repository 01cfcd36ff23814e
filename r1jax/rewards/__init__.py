"""What a completion is worth: one file a reward, and the service that grades in processes it can kill.

Reading order: `verdicts` (what a reward is and says), `maths`, `format`, `language`, `countdown`,
`pair_search`, `starts_with_answer` (the rewards), `routing` (which of them a record gets), `service` with
`worker_process`, `worker` and `wire` (how those that may hang or crash are run). Nothing here imports jax.
"""
