"""Trained models for people: what `picollm.load` gives, to write, score and look into texts with, and what the command line and its page say of them."""
