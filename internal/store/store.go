// Package store says what the storage backends below it report alike; lsm is
// one, and storetest is the suite that every backend passes.
package store

import "time"

// A Finding is one thing that is wrong in stored data.
type Finding struct {
	Where string `json:"where"` // which record
	What  string `json:"what"`
}

// Summary is what a check looked at.
type Summary struct {
	Apps  int `json:"apps"`
	Users int `json:"users"`
	Other int `json:"other"` // records of other tables
}

// An OpeningPart is what the opening of a data directory reads.
type OpeningPart string

// The parts, in order. A directory may lack one.
const (
	OpeningCheckpoint OpeningPart = "checkpoint" // twice: to verify it, and into memory
	OpeningLog        OpeningPart = "log"        // into memory
	OpeningTables     OpeningPart = "tables"     // the log once more, for what the tables lack
)

// An Opening says how far the opening of a data directory is.
type Opening struct {
	Part        OpeningPart
	Done, Total int64  // bytes of the part that are read, and about how many there are
	Groups      uint64 // of the log that are read
}

// A Checkpoint describes a file that a start reads instead of the log before it.
type Checkpoint struct {
	Position uint64  `json:"position"` // of the log
	Bytes    int64   `json:"bytes"`
	Seconds  float64 `json:"seconds"` // that it took; 0 if nothing had changed since the last
}

// A Backup describes a copy of a data directory as it was at one moment.
type Backup struct {
	Dir      string    `json:"dir"`
	Position uint64    `json:"position"` // of the last group of changes in it
	Time     time.Time `json:"time"`     // the second of that group
	Files    int       `json:"files"`
	Bytes    int64     `json:"bytes"`
	Seconds  float64   `json:"seconds,omitempty"` // that making it took

	Certificates int  `json:"certificates,omitempty"`    // in it; 0 also where they were not counted
	Key          bool `json:"credentials_key,omitempty"` // the key of credentials is in it
}

// Restored describes a data directory that was made of a backup.
type Restored struct {
	Dir      string    `json:"dir"`
	Apps     int       `json:"apps"`
	Users    int       `json:"users"`
	Position uint64    `json:"position"` // of the last group of changes that is in it
	Time     time.Time `json:"time"`     // the second of that group; later changes are lost
	// LogEnds reports whether no later change was found, so that there may have been
	// some which nobody kept.
	LogEnds bool `json:"log_ends"`
	// TicketsEnded is the second up to which all tickets are invalid; zero if they are
	// as they were.
	TicketsEnded time.Time `json:"tickets_ended,omitzero"`

	PausedTasks  int  `json:"paused_tasks,omitempty"` // pushes that had not ended
	Certificates int  `json:"certificates,omitempty"`
	Key          bool `json:"credentials_key,omitempty"` // the key of credentials was in the backup
}

// What may be Returned by a restore.
const (
	ReturnedApp     = "app"     // it was deleted
	ReturnedKey     = "key"     // it was removed, or had been given an end
	ReturnedAppKey  = "appkey"  // it was removed
	ReturnedChannel = "channel" // the certificate was removed, or its credential was replaced
	ReturnedAdmin   = "admin"   // it was removed
	ReturnedUser    = "user"    // it was deleted
	ReturnedTickets = "tickets" // those of an account, or of all, were made invalid
	ReturnedAccess  = "access"  // it was closed: the app was disabled or suspended, or an account blocked
)

// Returned is something that was taken away after the moment a directory was restored to,
// and is there again.
type Returned struct {
	App  uint32 `json:"sdkappid"`
	Kind string `json:"kind"`
	Name string `json:"name,omitempty"` // of the key, admin, user or account; empty: the app
	What string `json:"what"`           // a sentence about it
}
