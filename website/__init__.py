"""What builds the site besides MkDocs: equations, gallery, reference, cheat sheet."""
