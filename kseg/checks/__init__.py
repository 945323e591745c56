"""The checks of `kseg.preflight`: of images, of masks, of the end of the model, of one gradient."""
