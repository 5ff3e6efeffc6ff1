"""What builds the documentation site, besides MkDocs: equations, gallery, reference, cheat sheet."""
