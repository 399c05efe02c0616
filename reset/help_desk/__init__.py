"""The pages of the help desk: who may use them, and what they show and do."""
