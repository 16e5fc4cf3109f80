"""Sampling strategies: their options, each declared once, and their functions on probabilities."""
