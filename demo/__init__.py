"""The demo of `make run`: a portal with accounts, a mailbox, and a runner.

Nothing here is part of the product, and nothing here imports it: the service meets this portal as
it meets any other, by its settings alone.
"""
