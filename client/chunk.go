package client

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// inChunks sends a list in requests of at most MaxUsers users, one after the
// other, and joins what they report. Accounts that fail do not stop it; any
// other error does.
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

// checkText refuses text that is not UTF-8. JSON cannot carry it, and
// encoding/json would send another name in its place.
func checkText(command string, texts ...string) error {
	for _, s := range texts {
		if !utf8.ValidString(s) {
			return fmt.Errorf("%s: %q is not UTF-8", command, s)
		}
	}
	return nil
}
