package client

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// inChunks calls send for parts of a list of at most MaxUsers users, one after the other,
// and returns the failed accounts of all. Failed accounts do not end it; any other error
// does.
func inChunks[E any](list []E, send func(chunk []E) error) error {
	var failed *AccountErrors
	done := 0
	for chunk := range slices.Chunk(list, MaxUsers) {
		err := send(chunk)
		some, partial := errors.AsType[*AccountErrors](err)
		switch {
		case partial && failed == nil:
			failed = some
		case partial:
			failed.RequestID = some.RequestID
			failed.List = append(failed.List, some.List...)
		case err != nil && done > 0:
			return &ChunkError{Done: done, Total: len(list), Err: err, Users: failed}
		case err != nil:
			return err
		}
		done += len(chunk)
	}
	if failed != nil {
		return failed
	}
	return nil
}

// checkText returns an error for text that is not UTF-8. JSON cannot hold such a text,
// and encoding/json would send another one.
func checkText(command string, texts ...string) error {
	for _, s := range texts {
		if !utf8.ValidString(s) {
			return fmt.Errorf("%s: %q is not UTF-8", command, s)
		}
	}
	return nil
}
