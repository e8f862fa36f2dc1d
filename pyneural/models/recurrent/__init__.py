"""Recurrent networks, and their applications: one to many, many to one, many to many, online."""
