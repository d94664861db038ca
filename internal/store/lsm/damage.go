package lsm

import (
	"errors"

	"tidings/internal/store/journal"
)

// IsDamage reports whether an error is that of a data directory that cannot be opened,
// or read, because its files are not as they were written.
func IsDamage(err error) bool {
	_, ok := errors.AsType[*journal.Damage](err)
	return ok || journal.Unreadable(err)
}
