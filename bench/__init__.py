"""`make bench`: the service measured from outside, each figure beside something known."""
