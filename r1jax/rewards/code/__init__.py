"""The `code` reward: a completion's program against the tests of its record, in jails.

Reading order: `tests` (what a record brings), `program` (what a completion brings), `outcomes`, `compare` and `stdio`
(programs that read and print), `plain_data`, `channel`, `bundle`, `candidate`, `proxy`, `assertions` and `calls`
(functions that are called from outside their jail), `reward` (how it is run).
"""
