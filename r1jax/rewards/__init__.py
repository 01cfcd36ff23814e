"""What a completion is worth: one file a reward, and the service that grades in processes it can kill.

Reading order: `verdicts` (what a reward is and says), then the rewards: `maths`, `choice`, `short_text`, `countdown`,
`code/`, `judge/`, `format`, `format_r1`, `language`, `repetition`, `cosine` and those of the miniature; `routing` (what
a record gets); `service` with `pending`, `apart`, `runners`, `threads`, `pool`, `slot`, `worker_process`, `worker` and
`wire` (how those that may hang, crash or wait are run); `lint/` (completions that cheat). Nothing here imports jax.
"""
