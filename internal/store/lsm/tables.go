package lsm

import (
	"encoding/binary"
	"fmt"

	"tidings/internal/audience"
	"tidings/internal/store/journal"
)

// The tables. doc/storage-format.md gives every byte.
var (
	// user number, big-endian → nickname
	tableNick = &journal.Table{ID: 0x03, Name: "nickname", PerApp: true, Check: checkProfile}
	// user number, big-endian → picture URL
	tableFace = &journal.Table{ID: 0x04, Name: "picture", PerApp: true, Check: checkProfile}
	// hash of an account → second up to which its tickets are invalid. It stays
	// when the account is deleted: tickets from before must not come back with an
	// account of the same name. So it holds no name, which would stay too.
	tableRevoked = &journal.Table{ID: 0x05, Name: "ticket invalidation", PerApp: true, Check: checkRevoked}
	// nothing → second up to which all tickets of the app are invalid. It stays when
	// the app is deleted, for an app that gets the same number and key.
	tableEnded = &journal.Table{ID: 0x06, Name: "invalidation of all tickets", Check: checkEnded}
	// name → key, of app 0
	tableKeys = &journal.Table{ID: 0x07, Name: "key", AtStart: true, Check: checkKey}

	// number of a device, big-endian → device
	tableDevice = &journal.Table{ID: 0x08, Name: "device", PerApp: true, Check: checkDevice}
	// hash of the address of a token, with its certificate and kind → number of the device
	// that has it
	tableAddress = &journal.Table{ID: 0x09, Name: "address", PerApp: true, Check: checkAddress}
	// number of a device, its version, both big-endian → the device as it was
	tableVersion = &journal.Table{ID: 0x0a, Name: "version of a device", PerApp: true, Check: checkVersion}
	// number of a device → its retired tokens
	tableRetired = &journal.Table{ID: 0x0b, Name: "retired tokens", PerApp: true, Check: checkRetired}
	// number of a device → its badge, if that is not 0
	tableBadge = &journal.Table{ID: 0x0c, Name: "badge", PerApp: true, Check: checkBadge}

	tables = []*journal.Table{
		tableNick, tableFace, tableRevoked, tableEnded, tableKeys,
		tableDevice, tableAddress, tableVersion, tableRetired, tableBadge,
	}
)

const (
	hashBytes    = 16 // of the name of an account
	hashKeyBytes = 32
)

var hashKeyName = []byte("hash")

// numberKey is the key of a user's records.
func numberKey(user uint32) []byte { return binary.BigEndian.AppendUint32(nil, user) }

func checkProfile(key, value []byte) error {
	if len(key) != 4 {
		return fmt.Errorf("key of %d bytes, want 4", len(key))
	}
	if len(value) > audience.MaxProfileBytes {
		return fmt.Errorf("has %d bytes, at most %d", len(value), audience.MaxProfileBytes)
	}
	return nil
}

func checkRevoked(key, value []byte) error {
	if len(key) != hashBytes {
		return fmt.Errorf("key of %d bytes, want %d", len(key), hashBytes)
	}
	return checkSecond(value)
}

func checkEnded(key, value []byte) error {
	if len(key) != 0 {
		return fmt.Errorf("key of %d bytes, want none", len(key))
	}
	return checkSecond(value)
}

func checkSecond(value []byte) error {
	if len(value) != 8 {
		return fmt.Errorf("time of %d bytes, want 8", len(value))
	}
	return nil
}

func checkKey(key, value []byte) error {
	if string(key) != string(hashKeyName) || len(value) != hashKeyBytes {
		return fmt.Errorf("key %q of %d bytes is not known", key, len(value))
	}
	return nil
}
