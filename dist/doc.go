// Package dist has no code: it is where the files are that an operator installs beside the
// program. Its tests hold them against the program and against the operator's guide.
package dist
