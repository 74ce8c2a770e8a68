"""What every function runs on. Nothing is imported here: who imports a module pays for it."""

import gc

# Nothing that a function imports is garbage: to look for some, again and again, takes a thirtieth
# of a cold start. Requests leave little of it behind, so later too it is enough to look seldom.
gc.set_threshold(50_000)
