"""Prepare the interpreter before other imports; no other module acts when it is imported."""

import gc

# Nothing that a function imports is garbage; looking for garbage takes 3 % of a cold start.
# Requests leave little of it behind, so rare collections are enough later, too.
gc.set_threshold(50_000)
