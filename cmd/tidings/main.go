// Command tidings is the push and audience server and the tool of its operator;
// its verbs are in internal/cli.
package main

import (
	"context"
	"os"

	"tidings/internal/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.LookupEnv))
}
