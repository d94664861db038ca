package main

// release is set by the linker (make build).
var release = "dev"

func version() string { return release }
