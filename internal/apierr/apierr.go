// Package apierr holds the error codes of the API, and the error type that carries
// a code from the place that understands a failure to the answer.
//
// The codes up to 94999 and their meaning are the contract's (spec/conventions.md, 3;
// spec/timpush-api.md, 13); those from 95000 are for commands that only this server
// has. A test writes doc/errors.md from this package and keeps it the same.
package apierr

import (
	"errors"
	"fmt"
	"strings"
)

// Retry says what a client may do with the same request after a failure
// (spec/conventions.md, 2.8).
type Retry int

// What a client may do.
const (
	Never       Retry = iota // the request must change first
	Later                    // again with exponential back-off and jitter
	SlowDown                 // again with back-off, and at a lower rate from now on
	AfterMinute              // again after at least one minute
)

// String returns the word for r in doc/errors.md.
func (r Retry) String() string {
	return [...]string{"no", "yes", "slower", "after 1 min"}[r]
}

// A Kind is one documented failure. It is an error itself, so that
// errors.Is(err, apierr.NotAdmin) works through any wrapping.
type Kind struct {
	Code  int    // ErrorCode on the wire
	Text  string // ErrorInfo of an Error that has no Msg
	Retry Retry
}

// Error returns the kind's own text.
func (k *Kind) Error() string { return k.Text }

// Errorf returns an Error of this kind. Its text is shown to the caller: it names the
// field and the offending value, and never holds a secret.
func (k *Kind) Errorf(format string, args ...any) *Error {
	return &Error{Kind: k, Msg: fmt.Sprintf(format, args...)}
}

// Because returns an Error of this kind with the kind's own text. The cause is logged
// and never shown.
func (k *Kind) Because(cause error) *Error {
	return &Error{Kind: k, Cause: cause}
}

// Error is a Kind with the details of one occurrence.
type Error struct {
	Kind  *Kind
	Msg   string // ErrorInfo; empty means the kind's text
	Cause error  // logged, never shown; may be nil
}

// MaxInfoBytes bounds an ErrorInfo, whatever the values that it quotes: it is in answers
// and in the log.
const MaxInfoBytes = 1 << 10

// Info returns the ErrorInfo for the caller, cut to MaxInfoBytes.
func (e *Error) Info() string {
	if e.Msg != "" {
		return clip(e.Msg)
	}
	return clip(e.Kind.Text)
}

// clip returns a text of at most MaxInfoBytes.
func clip(s string) string {
	if len(s) <= MaxInfoBytes {
		return s
	}
	const dots = "..."
	return strings.ToValidUTF8(s[:MaxInfoBytes-len(dots)], "") + dots
}

// Error returns the text for logs: code, info and cause.
func (e *Error) Error() string {
	s := fmt.Sprintf("%d %s", e.Kind.Code, e.Info())
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap returns the kind and the cause, for errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// From returns the Error that err wraps, or an Error of the Kind that err wraps. An
// err that wraps neither is a bug or an outage: it becomes the cause of an internal
// error, and the caller learns no more than that.
func From(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if k, ok := errors.AsType[*Kind](err); ok {
		return &Error{Kind: k}
	}
	return &Error{Kind: Internal, Cause: err}
}
