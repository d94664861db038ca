package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

// isTerminal tells whether somebody may be there to answer a question.
func isTerminal(in io.Reader) bool {
	f, ok := in.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	nobody, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, nobody)
}

// prompt asks and reads a line; it is empty if nobody answers.
func prompt(in io.Reader, out io.Writer, question string) string {
	fmt.Fprint(out, question)
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil {
		fmt.Fprintln(out)
	}
	return strings.TrimSpace(line)
}
