"""A page on this machine to talk to trained models: what they write, how sure they are of every token, where their heads look."""
