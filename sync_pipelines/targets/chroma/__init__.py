"""Chroma as a target: collections of documents with embeddings, written by deterministic ids."""
