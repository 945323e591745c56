"""What `kseg.preflight` looks for: in images, in masks, in what the model ends in, in one gradient."""
