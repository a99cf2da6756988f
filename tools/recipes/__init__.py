"""Recipes: complete settings of one experiment each, as YAML."""
