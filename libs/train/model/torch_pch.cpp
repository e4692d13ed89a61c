// Holds the precompiled header of LibTorch.
