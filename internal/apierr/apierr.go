// Package apierr holds the error codes of the API and the error type that
// carries one of them from the place that understands a failure to the answer.
//
// The numbers and their meaning are the contract's (spec/conventions.md, 3;
// spec/timpush-api.md, 13). doc/errors.md is generated from this package.
package apierr

import (
	"errors"
	"fmt"
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

// String is the word used in the generated documentation.
func (r Retry) String() string {
	return [...]string{"no", "yes", "slower", "after 1 min"}[r]
}

// A Kind is one documented failure. It is an error itself, so that
// errors.Is(err, apierr.NotAdmin) works through any wrapping.
type Kind struct {
	Code  int    // ErrorCode on the wire
	Text  string // ErrorInfo when there is nothing better to say
	Retry Retry
}

// Error is the default ErrorInfo.
func (k *Kind) Error() string { return k.Text }

// Errorf makes an Error of this kind. The text is shown to the caller: it names
// the field and the offending value, and never holds a secret.
func (k *Kind) Errorf(format string, args ...any) *Error {
	return &Error{Kind: k, Msg: fmt.Sprintf(format, args...)}
}

// Because makes an Error of this kind with the kind's own text and a cause that
// is logged and never shown.
func (k *Kind) Because(cause error) *Error {
	return &Error{Kind: k, Cause: cause}
}

// Error is a Kind with the details of one occurrence.
type Error struct {
	Kind  *Kind
	Msg   string // ErrorInfo; empty means the kind's text
	Cause error  // logged, never shown; may be nil
}

// Info is the ErrorInfo for the caller.
func (e *Error) Info() string {
	if e.Msg != "" {
		return e.Msg
	}
	return e.Kind.Text
}

// Error is the text for logs: code, info and cause.
func (e *Error) Error() string {
	s := fmt.Sprintf("%d %s", e.Kind.Code, e.Info())
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap gives the kind and the cause to errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// From finds the Error in err. A bare Kind becomes an Error of that kind. An
// err with neither is a bug or an outage: the caller learns only that it was
// internal.
func From(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if k, ok := errors.AsType[*Kind](err); ok {
		return &Error{Kind: k}
	}
	return &Error{Kind: Internal, Cause: err}
}
